"""Watching again what is over: the player with a recording, its seek bar and previews."""

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from config import Config
from routes import pages
from tests.box import FFMPEG
from tests.browser import chromium, video_state, wait_for
from tests.serving import served

SECONDS = 30
STORYBOARD = """WEBVTT

00:00:00.000 --> 00:00:15.000
sprite.jpg#xywh=0,0,320,180

00:00:15.000 --> 00:00:30.000
sprite.jpg#xywh=320,0,320,180
"""


class Files(http.server.SimpleHTTPRequestHandler):
    """The media server's part: files, for pages of any origin."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def files(folder: Path) -> Iterator[str]:
    handler = functools.partial(Files, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def record(folder: Path) -> None:
    """What is left of a broadcast: segments with an end mark, and the pictures of it."""
    folder.mkdir(parents=True)
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=25:duration={SECONDS}"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"]
    hls = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "0", folder / "master_dvr.m3u8"]
    run = functools.partial(subprocess.run, check=True, stdin=subprocess.DEVNULL)
    run([FFMPEG, "-loglevel", "error", *picture, *coded, *hls])
    run([FFMPEG, "-loglevel", "error", *picture, "-vf", "tile=2x1", "-frames:v", "1", folder / "sprite.jpg"])
    (folder / "storyboard.vtt").write_text(STORYBOARD)


@pytest.fixture
def config(config, tmp_path) -> Iterator[Config]:
    with files(tmp_path) as url:
        yield replace(config, public_url=url)


def test_a_broadcast_that_is_over_can_be_watched_again_with_previews(
    config, app, client, tmp_path, monkeypatch
):
    made = client.post("/v1/live", json={"name": "It was good", "thumbnail": True}).json["data"]
    client.delete(f"/v1/live/{made['id']}")
    record(tmp_path / "play" / made["id"])
    video = {"videoUrl": app.extensions["livestream"].links.media(f"{made['id']}/master_dvr.m3u8", "main")}
    known = pages.channel_object
    monkeypatch.setattr(pages, "channel_object", lambda *asked: known(*asked) | video)
    with served(config) as port, chromium() as browser:
        browser.get(f"http://127.0.0.1:{port}/watch/{made['id']}")
        wait_for(browser, "return !document.querySelector('.again').hidden", 10)
        assert not video_state(browser)["readyState"], (
            "nothing plays, or makes a sound, before it is asked for"
        )
        browser.find_element(By.CSS_SELECTOR, ".again").click()
        wait_for(browser, "return document.querySelector('video').currentTime > 1", 20)

        bar = browser.find_element(By.CSS_SELECTOR, ".seek input")
        wait_for(browser, "return document.querySelector('.clock').textContent.endsWith(' / 0:30')", 10)
        ActionChains(browser).move_to_element_with_offset(bar, bar.size["width"] // 4, 0).perform()
        wait_for(browser, "return !document.querySelector('.peek .picture').hidden", 10)
        style = browser.execute_script("return document.querySelector('.peek .picture').style.cssText")
        assert "sprite.jpg" in style
        assert "-320px" in style, "the picture of the second half"

        bar.send_keys(Keys.END)
        wait_for(browser, "return document.querySelector('video').ended", 20)
        bar.send_keys(Keys.HOME)
        wait_for(browser, "return document.querySelector('video').currentTime < 2", 10)
        assert video_state(browser)["errors"] == []
