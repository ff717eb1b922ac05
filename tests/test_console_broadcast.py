"""What a person does on the first evening, in a browser, on the real box: from the sign-in to a webhook sent again."""

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.box import TOKEN_ID, TOKEN_SECRET, Encoder
from tests.browser import chromium, wait_for
from tests.receiver import Receiver
from tests.waiting import until

pytestmark = pytest.mark.box

# Of the page itself, without asking for another one.
STATE = "return document.querySelector('#state .badge').textContent"
PICTURE = """
const video = document.querySelector("iframe.preview").contentDocument?.querySelector("video");
return Boolean(video && video.videoWidth && video.currentTime > 0.5);
"""


def field(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).get_attribute("value")


def press(browser: Chrome, selector: str) -> None:
    browser.find_element(By.CSS_SELECTOR, selector).click()


def await_state(browser: Chrome, word: str, timeout_s: float = 20) -> None:
    wait_for(browser, f"{STATE} === '{word}'", timeout_s)


def test_from_the_sign_in_to_a_live_picture_to_a_webhook_sent_again(box):
    with chromium() as browser, Receiver() as receiver:
        browser.get(box.url)
        browser.switch_to.active_element.send_keys(TOKEN_ID, Keys.TAB, TOKEN_SECRET, Keys.ENTER)
        wait_for(browser, "return location.pathname === '/console/channels'", 10)

        browser.get(f"{box.url}/console/webhooks/new")
        browser.find_element(By.ID, "uri").send_keys(receiver.url)
        press(browser, "input[value=channel_live]")
        press(browser, ".sections .primary")
        assert field(browser, "secret").startswith("whsec_")
        press(browser, ".panel a.button")
        webhook = browser.current_url

        browser.get(f"{box.url}/console/channels/new")
        browser.find_element(By.ID, "name").send_keys("First evening", Keys.ENTER)
        wait_for(browser, "return Boolean(document.querySelector('[data-key]'))", 10)
        await_state(browser, "Waiting")
        assert field(browser, "server") == f"rtmp://127.0.0.1:{box.rtmp_port}/live"
        press(browser, "[data-show]")
        wait_for(browser, "return document.getElementById('stream-key').value.length === 40", 5)

        with Encoder(box, field(browser, "stream-key")):
            await_state(browser, "Live")
            wait_for(browser, PICTURE, 20)
            wait_for(
                browser,
                "return document.querySelector('#latest').textContent.includes('Encoder connected')",
                10,
            )
            channel = browser.current_url
            browser.get(f"{box.url}/console/channels")
            assert browser.find_element(By.CSS_SELECTOR, "tbody tr .badge").text == "Live"
            browser.get(channel)
            browser.find_element(By.LINK_TEXT, "Stop…").click()
            press(browser, ".confirm .danger")
            await_state(browser, "Ended")

        until(lambda: len(receiver.requests) == 1, 10, "channel_live has arrived")
        browser.get(webhook)
        wait_for(
            browser, "return document.querySelector('#deliveries .badge').textContent === 'Delivered'", 10
        )
        press(browser, "#deliveries .name")
        assert "200" in browser.find_element(By.ID, "tries").text
        press(browser, ".title button")
        until(lambda: len(receiver.requests) == 2, 10, "it has arrived once more")
        first, second = (each.headers["webhook-id"] for each in receiver.requests)
        assert first == second
        wait_for(browser, "return document.querySelector('#tries').textContent.includes('It arrived.')", 10)
