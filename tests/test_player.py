"""The player in a browser, on the really running box: modes, seeking, embedding, and what encoders do to it."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.bench.clock_picture import ClockEncoder
from tests.box import Box, Encoder
from tests.browser import chromium, video_state, wait_for
from tests.waiting import until

pytestmark = pytest.mark.box

MODES = ("ultra-low-latency", "low-latency", "normal")
PLAYS = (
    "const v = document.querySelector('video'); return v.currentTime > 0.5 && !v.paused && v.readyState > 2"
)
BACK, LIVE = (
    "return document.querySelector('.clock').textContent",
    "return !document.querySelector('.golive').hidden",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture(autouse=True)
def nothing_logged(browser) -> None:
    """Complaints of the pages before, whose channels are gone, are not this test's."""
    browser.get("about:blank")
    browser.get_log("browser")


def watch(box: Box, browser: Chrome, channel: dict, query: str = "") -> None:
    browser.get(f"{box.url}/watch/{channel['id']}{query}")
    wait_for(browser, PLAYS, 25)


def goes_on(browser: Chrome, seconds: float = 2) -> None:
    before = video_state(browser)["currentTime"]
    until(lambda: video_state(browser)["currentTime"] > before + seconds, 20, "the picture goes on")


@pytest.mark.parametrize("mode", MODES)
def test_with_a_key_frame_every_four_seconds_a_viewer_joins_in_the_middle_of_a_group(box, browser, mode):
    made = box.create(mode=mode)
    with ClockEncoder(box, made["streamToken"], gop=100):
        box.await_status(made["id"], "live", 20)
        for _ in range(2):  # at two places in a group
            watch(box, browser, made)
            assert video_state(browser)["videoWidth"] == 640
            goes_on(browser, 5)
            assert video_state(browser)["errors"] == []
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_viewer_sees_it_go_on_after_a_reconnection_without_a_reload(box, browser, mode):
    made = box.create(mode=mode)
    with Encoder(box, made["streamToken"]):
        watch(box, browser, made)
        browser.execute_script("window.never_reloaded = true")
        goes_on(browser)
    box.await_status(made["id"], "init")
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        frames = "return document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
        for _ in range(2):  # twice, because what the buffer held does not count
            seen = browser.execute_script(frames)
            wait_for(browser, f"{frames} > {seen} + 75", 20)
        assert browser.execute_script("return window.never_reloaded")
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def without(encoder: Encoder, kind: str) -> Encoder:
    """The same encoder with sound ("v") or a picture ("a") alone."""
    at = encoder.argv.index("-c:v")
    encoder.argv[at:at] = ["-map", "0:v"] if kind == "a" else ["-map", "1:a"]
    return encoder


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("missing", "width"), [("v", 0), ("a", 640)])
def test_sound_alone_plays_and_so_does_a_picture_alone(box, browser, mode, missing, width):
    made = box.create(mode=mode)
    with without(Encoder(box, made["streamToken"]), missing):
        box.await_status(made["id"], "live", 30)
        watch(box, browser, made)
        goes_on(browser)
        assert video_state(browser)["videoWidth"] == width
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_browser_without_media_source_plays_by_itself(box, browser):
    can = "return document.createElement('video').canPlayType('application/vnd.apple.mpegurl')"
    browser.get(f"{box.url}/watch/nobody")
    if not browser.execute_script(can):
        pytest.skip("this Chromium has no HLS of its own")
    made = box.create()
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        watch(box, browser, made, "?native")
        assert browser.execute_script("return document.querySelector('video').src").endswith("/master.m3u8")
        goes_on(browser)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_viewer_goes_back_in_a_live_broadcast_and_to_live_again(box, browser):
    made = box.create(dvr=True, mode="low-latency")
    with Encoder(box, made["streamToken"]):
        watch(box, browser, made)
        assert not browser.execute_script(LIVE)
        until(lambda: box.channel(made["id"])["duration"] > 20, 40, "20 s to go back in")
        browser.refresh()
        wait_for(browser, PLAYS, 20)
        wait_for(browser, f"{BACK} === 'Live'", 10)
        bar = browser.find_element(By.CSS_SELECTOR, ".seek input")
        bar.send_keys(Keys.HOME)
        wait_for(
            browser, f"{LIVE} && document.querySelector('.clock').textContent.slice(1).startsWith('0:')", 20
        )
        goes_on(browser)
        assert video_state(browser)["errors"] == []

        browser.find_element(By.CSS_SELECTOR, ".golive").click()
        wait_for(browser, f"{BACK} === 'Live'", 10)
        wait_for(browser, PLAYS, 10)
        goes_on(browser)
        assert not browser.execute_script(LIVE)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_who_has_paused_goes_on_there_and_to_live_when_asked(box, browser):
    made = box.create(mode="low-latency")
    with Encoder(box, made["streamToken"]):
        watch(box, browser, made)
        goes_on(browser)
        browser.find_element(By.TAG_NAME, "body").send_keys("k")
        paused = video_state(browser)
        assert paused["paused"]
        wait_for(
            browser,
            "const v = document.querySelector('video'); return v.buffered.end(0) > v.currentTime + 7",
            20,
        )
        browser.find_element(By.TAG_NAME, "body").send_keys("k")
        goes_on(browser, 0.5)
        assert video_state(browser)["currentTime"] < paused["currentTime"] + 4
        browser.find_element(By.CSS_SELECTOR, ".golive").click()
        wait_for(
            browser, f"return document.querySelector('video').currentTime > {paused['currentTime'] + 5}", 5
        )
        wait_for(browser, "return document.querySelector('.golive').hidden", 5)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


@contextmanager
def another_site(folder: Path, page: str) -> Iterator[str]:
    """A page that is not ours, at an address of its own."""
    (folder / "index.html").write_text(page)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()


def test_the_player_plays_in_a_page_of_somebody_else(box, browser, tmp_path):
    made = box.create()
    told = box.call("GET", f"/oembed?url={box.url}/watch/{made['id']}", token=False)[1]
    with Encoder(box, made["streamToken"]), another_site(tmp_path, told["html"]) as address:
        box.await_status(made["id"], "live")
        browser.get(address)
        browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
        wait_for(browser, PLAYS, 25)
        assert [each for each in video_state(browser)["errors"] if "favicon" not in each] == []
    browser.switch_to.default_content()
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_the_broadcaster_sees_key_preview_and_time_on_air(box, browser):
    made = box.create()
    link = box.call("POST", f"/v1/live/{made['id']}/studio", {})[1]["data"]["studioUrl"]
    browser.get(link)
    key = browser.find_element(By.ID, "stream-key")
    wait_for(browser, "return document.querySelector('.badge').textContent === 'Waiting'", 5)
    assert key.get_property("value") != made["streamToken"]
    browser.find_element(By.CSS_SELECTOR, "[data-show]").click()
    until(lambda: key.get_property("value") == made["streamToken"], 15, "the key is shown")
    browser.find_element(By.CSS_SELECTOR, "[data-show]").click()
    until(lambda: key.get_property("value") != made["streamToken"], 15, "the key is hidden")
    with Encoder(box, made["streamToken"]):
        wait_for(browser, PLAYS, 25)
        wait_for(browser, "return document.querySelector('.headline').textContent === 'You are live'", 5)
        wait_for(browser, "return document.querySelector('.onair').textContent !== '0:00'", 10)
    box.call("DELETE", f"/v1/live/{made['id']}")
    wait_for(browser, "return document.querySelector('.fields').hidden", 10)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_no_log_names_a_studio_link_also_while_the_api_is_down(own_box):
    made = own_box.create()
    address = own_box.call("POST", f"/v1/live/{made['id']}/studio", {})[1]["data"]["studioUrl"]
    path = address.removeprefix(own_box.url)
    web = own_box.pid("web")
    psutil.Process(web).kill()
    until(lambda: own_box.call("GET", "/watch/nobody", token=False)[0] == 503, 15, "web is down")
    own_box.call("GET", path, token=False)
    own_box.await_pid("web", web)
    until(lambda: "Time on air" in own_box.get(path), 20, "the page is back")
    until(lambda: "/studio/..." in own_box.log.read_text(), 10, "the log has come through its pipe")
    log = own_box.log.read_text()
    assert "GET /watch/nobody" in log, "nginx says what it could not pass on"
    assert path not in log
