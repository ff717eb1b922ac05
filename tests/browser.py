"""Headless Chromium for tests of the pages; nothing here reaches further than this machine."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"  # named, so that selenium fetches none
FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    # Otherwise it asks Google's hosts for this and that at every start.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
STATE = """
const video = document.querySelector("video");
return {
  currentTime: video.currentTime,
  videoWidth: video.videoWidth,
  readyState: video.readyState,
  paused: video.paused,
  errors: video.error ? [video.error.message] : [],
};
"""


@contextmanager
def chromium(width: int = 1280, height: int = 800) -> Iterator[Chrome]:
    """A browser with a profile of its own, gone with all its processes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options=options, service=Service(CHROMEDRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def wait_for(driver: Chrome, script: str, timeout: float) -> Any:
    """The first truthy value that `script`, such as "return document.title", gives."""
    waiting = WebDriverWait(driver, timeout, poll_frequency=0.1)
    return waiting.until(lambda _: driver.execute_script(script), f"still not true in the page: {script}")


def video_state(driver: Chrome) -> dict[str, Any]:
    """How the page's video is; `errors` also holds what the console complained of since the last look."""
    complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    state = driver.execute_script(STATE)
    return state | {"errors": state["errors"] + complaints}
