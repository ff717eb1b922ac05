"""Every page of the console in a browser: for everybody, on a telephone, light and dark, without any script."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from app import create_app
from auth import create_token
from db import database, utcnow
from delivery import webhooks
from live.arrival import Arrival
from models import Attempt, Channel, Delivery, Session
from schemas import ChannelCreate
from schemas_admin import TokenCreate
from schemas_webhook import WebhookCreate
from tests.browser import chromium, wait_for
from tests.conftest import ROOT_ID, ROOT_SECRET
from tests.serving import served

AXE = Path(__file__).parent.parent / "web/node_modules/axe-core/axe.min.js"
RUN_AXE = """
const done = arguments[0];
axe.run(document, { iframes: false, resultTypes: ["violations"] }).then(
  (found) => done(found.violations.map((each) => `${each.impact} ${each.id}: ${each.nodes[0].html}`)),
  (error) => done([String(error)]),
);
"""
# What `world` makes stands in braces.
PAGES = (
    "/console/channels",
    "/console/channels?status=ended&query=nothing",
    "/console/channels/new",
    "/console/channels/{live}",
    "/console/channels/{coming}",
    "/console/channels/{ended}",
    "/console/channels/{live}/edit",
    "/console/channels/{ended}/edit",
    "/console/channels/{live}/stop",
    "/console/channels/{live}/reset",
    "/console/channels/{live}/delete",
    "/console/channels/{live}/timeline",
    "/console/channels/{live}/sessions",
    "/console/channels/{live}/videos",
    "/console/analytics",
    "/console/videos",
    "/console/webhooks",
    "/console/webhooks/new",
    "/console/webhooks/{webhook}",
    "/console/webhooks/{webhook}/edit",
    "/console/webhooks/{webhook}/again",
    "/console/webhooks/{webhook}/rotate",
    "/console/webhooks/{webhook}/deliveries/{delivery}",
    "/console/users",
    "/console/users/new",
    "/console/users/club",
    "/console/users/club/reset",
    "/console/tokens",
    "/console/tokens/new",
    "/console/tokens/{token}/revoke",
    "/console/audit",
    "/console/box",
    "/console/nothing",
)
LOOKS = (("light", 1280), ("dark", 360), ("light", 360), ("dark", 1280))


@dataclass
class World:
    """What there is to look at."""

    live: str
    coming: str
    ended: str
    webhook: str
    delivery: str
    token: str
    name: str = "A channel with a rather long name that has to be broken on a telephone, again and again"


def world(config: Any) -> World:
    app = create_app(config)
    lifecycle, limits = app.extensions["livestream"].lifecycle, app.extensions["livestream"].limits

    def made(**fields: Any) -> Channel:
        asked = {"accountId": "1", "name": World.name, "tags": "one,two"} | fields
        return lifecycle.create(ChannelCreate().load(asked), utcnow())

    with database.connection_context():
        live, coming, ended = made(), made(startAt="2126-01-01T00:00:00Z"), made()
        for _ in range(25):
            made(name="One of many")
        session = lifecycle.publish(live.stream_token, Arrival("x/y/1", "192.0.2.1", "OBS 31"), utcnow())
        lifecycle.playable(session.id, utcnow())
        Session.update(
            video={"codec": "H264", "width": 1920, "height": 1080, "fps": 50.0}, bitrate=4800
        ).execute()
        hook = {"uri": "http://127.0.0.1:9/a/rather/long/path/to/the/receiver", "event": ["all"]}
        hook = WebhookCreate().load(hook)
        webhook, _ = webhooks.create(hook, None, config, utcnow())
        lifecycle.stop(ended.id, utcnow())
        delivery = Delivery.get()
        Attempt.create(
            delivery=delivery,
            number=1,
            time=utcnow(),
            status_code=500,
            latency_ms=12,
            answer=b"<html>" + 9 * b"No such place. ",
        )
        limits.create({"account_id": "club", "limits": {"max_channels": 3}}, utcnow())
        token, _ = create_token(TokenCreate().load({"role": "app", "name": "A server"}), utcnow())
    return World(live.id, coming.id, ended.id, webhook.id, delivery.id, token.id)


@contextmanager
def signed_in(config: Any) -> Iterator[tuple[Chrome, str]]:
    """A browser with the console in it, by keyboard alone."""
    with served(config) as port, chromium() as browser:
        address = f"http://127.0.0.1:{port}"
        browser.get(address)
        # The first field has the focus.
        browser.switch_to.active_element.send_keys(ROOT_ID, Keys.TAB, ROOT_SECRET, Keys.ENTER)
        wait_for(browser, "return location.pathname === '/console/channels'", 10)
        yield browser, address


def look(browser: Chrome, scheme: str, width: int) -> None:
    media = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def findings(browser: Chrome) -> list[str]:
    browser.execute_script(AXE.read_text())
    return browser.execute_async_script(RUN_AXE)


def test_every_page_is_for_everybody_and_fits_every_screen(config):
    with signed_in(config) as (browser, address):
        there = vars(world(config))
        wrong = []
        for scheme, width in LOOKS:
            look(browser, scheme, width)
            for page in PAGES:
                browser.get(address + page.format(**there))
                where = f"{page} ({scheme}, {width} px)"
                wrong += [f"{where}: {found}" for found in findings(browser)]
                wide = browser.execute_script("return document.documentElement.scrollWidth")
                wrong += [f"{where}: {wide} px wide"] * (wide > width)
        assert wrong == []


def test_the_way_in_is_for_everybody_too(config):
    with served(config) as port, chromium() as browser:
        for scheme, width in LOOKS:
            look(browser, scheme, width)
            for page in ("/", "/?over=idle"):
                browser.get(f"http://127.0.0.1:{port}{page}")
                browser.execute_script(
                    "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
                )
                assert findings(browser) == [], (page, scheme, width)
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_what_is_wrong_in_a_form_is_told_to_everybody(config):
    with signed_in(config) as (browser, address):
        browser.get(f"{address}/console/channels/new")
        browser.find_element(By.ID, "expire").send_keys("1")
        browser.find_element(By.CSS_SELECTOR, ".sections .primary").click()
        wait_for(browser, "return Boolean(document.querySelector('.wrong'))", 10)
        assert findings(browser) == []
        assert browser.switch_to.active_element.get_attribute("role") == "alert"
        field = browser.find_element(By.ID, "name")
        described = field.get_attribute("aria-describedby").split()
        assert field.get_attribute("aria-invalid") == "true"
        assert "required" in browser.find_element(By.ID, described[-1]).text


def test_no_page_asks_for_anything_that_is_not_here_nor_runs_into_its_policy(config):
    with signed_in(config) as (browser, address):
        there = vars(world(config))
        for page in PAGES[:-1]:
            browser.get(address + page.format(**there))
            asked = browser.execute_script(
                "return performance.getEntriesByType('resource').map((each) => each.name)"
            )
            assert [url for url in asked if not url.startswith(f"{address}/")] == [], page
        complaints = [each["message"] for each in browser.get_log("browser")]
        # There is no media server here, which the preview finds out.
        assert [each for each in complaints if "/play/" not in each] == []


def test_everything_can_be_done_without_a_script(config):
    with signed_in(config) as (browser, address):
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        # Each click leads to a page, and what is found before it is there is of the page before.
        waits = WebDriverWait(
            browser, 10, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException]
        )

        def press(by: str, what: str) -> None:
            waits.until(lambda here: here.find_element(by, what)).click()

        def shows(by: str, what: str, text: str) -> None:
            waits.until(lambda here: text in here.find_element(by, what).text)

        browser.get(f"{address}/console/channels/new")
        browser.find_element(By.ID, "name").send_keys("By hand", Keys.ENTER)
        shows(By.TAG_NAME, "h1", "By hand")
        press(By.CSS_SELECTOR, "[data-show]")
        with database.connection_context():
            key = Channel.get().stream_token
        waits.until(lambda here: here.find_element(By.ID, "stream-key").get_attribute("value") == key)
        press(By.LINK_TEXT, "Settings")
        press(By.ID, "record")
        press(By.CSS_SELECTOR, ".sections .primary")
        press(By.LINK_TEXT, "Stop…")
        press(By.CSS_SELECTOR, ".confirm .danger")
        shows(By.ID, "state", "Over for good")
        with database.connection_context():
            assert (Channel.get().record, Channel.get().status) == (True, "ended")
        press(By.CSS_SELECTOR, ".who button")
        shows(By.CLASS_NAME, "note", "You are signed out.")


def test_the_list_keeps_itself_current_and_the_focus_where_it_was(config):
    with signed_in(config) as (browser, address):
        there = world(config)
        lifecycle = create_app(config).extensions["livestream"].lifecycle
        browser.get(f"{address}/console/channels?query=rather long")
        link = browser.find_element(By.CSS_SELECTOR, f"#{there.live} a")
        browser.execute_script("arguments[0].focus()", link)
        with database.connection_context():
            lifecycle.update(there.live, {"name": "A rather long name no more"}, utcnow())
            lifecycle.stop(there.coming, utcnow())
        wait_for(
            browser, f"return document.querySelector('#{there.coming} .badge').textContent === 'Ended'", 10
        )
        wait_for(
            browser, f"return document.querySelector('#{there.live} a').textContent.endsWith('no more')", 10
        )
        focused = browser.switch_to.active_element
        assert focused.text == "A rather long name no more"


def test_a_page_that_keeps_itself_current_leads_to_the_way_in_when_the_session_is_over(config):
    with signed_in(config) as (browser, _):
        browser.delete_all_cookies()
        wait_for(browser, "return location.pathname === '/'", 10)
        assert browser.find_element(By.NAME, "next").get_attribute("value") == "/console/channels"


def test_the_stream_key_can_be_copied_unseen_shown_and_hidden(config):
    with signed_in(config) as (browser, address):
        there = world(config)
        browser.get(f"{address}/console/channels/{there.live}")
        with database.connection_context():
            key = Channel.named(there.live).stream_token
        shown = browser.find_element(By.ID, "stream-key")
        browser.execute_cdp_cmd(
            "Browser.grantPermissions",
            {"origin": address, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
        )
        copy = browser.find_element(By.CSS_SELECTOR, "[data-copy=stream-key]")
        copy.click()
        wait_for(
            browser, "return document.querySelector('[data-copy=stream-key]').textContent === 'Copied'", 5
        )
        read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
        assert browser.execute_async_script(read) == key
        assert key not in shown.get_attribute("value")
        show = browser.find_element(By.CSS_SELECTOR, "[data-show]")
        show.click()
        wait_for(browser, f"return document.getElementById('stream-key').value === '{key}'", 5)
        show.click()
        wait_for(browser, f"return document.getElementById('stream-key').value !== '{key}'", 5)
