"""Opens a page in a browser, takes its picture in every look, and says what is wrong with it."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.browser import chromium, wait_for
from tests.screens.pages import NOBODY, Page

READY_S = 20


class Look(NamedTuple):
    scheme: str
    width: int
    framed: bool

    @property
    def height(self) -> int:
        if self.framed:
            return self.width * 9 // 16
        return 740 if self.width < 600 else 800

    @property
    def name(self) -> str:
        return f"{self.scheme}-{self.width}"


WIDTHS, SCHEMES = (1280, 360), ("light", "dark")

# All there is to see: text in its fonts, charts where there are some, two frames drawn.
SETTLED = """
const done = arguments[0];
const charts = [...document.querySelectorAll("[data-series]")];
const look = () => {
  const drawn = charts.every((each) => each.querySelector("canvas, .void, .trouble:not([hidden])"));
  if (document.readyState !== "complete" || !drawn) return setTimeout(look, 50);
  document.fonts.ready.then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true))));
};
look();
"""
BROKEN_PICTURES = """
return [...document.images].filter((each) => each.complete && !each.naturalWidth).map((each) => each.src);
"""
# Where a person would see text cut off: not what is for screen readers, nor what scrolls.
CUT = """
const besides = "input, .spoken, .scrolls, svg, iframe, .notice, .embed h1, .quality span, pre";
return [...document.querySelectorAll("body *")].filter((each) => {
  const hides = ["hidden", "clip"].includes(getComputedStyle(each).overflowX);
  return hides && !each.closest(besides) && each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1;
}).map((each) => `${each.tagName} ${each.className}: ${each.textContent.trim().slice(0, 40)}`);
"""


@dataclass
class Camera:
    """`cookies`: of whom, as the browser takes them."""

    browser: Chrome
    address: str
    folder: Path
    cookies: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    who: str = NOBODY

    def photograph(self, page: Page, path: str) -> list[str]:
        """Writes the pictures; returns what is wrong, in sentences."""
        wrong = []
        for width in WIDTHS:
            self._look(Look(SCHEMES[0], width, page.framed))
            try:
                self._open(page, path)
            except TimeoutException as error:
                wrong.append(f"{page.name} ({width} px): {error.msg}")
            for scheme in SCHEMES:
                look = Look(scheme, width, page.framed)
                self._look(look)
                self.browser.execute_async_script(SETTLED)
                self._take(f"{page.name}.{look.name}.png")
                wrong += [f"{page.name} ({scheme}, {width} px): {each}" for each in self._wrong(look)]
            wrong += [f"{page.name} ({width} px): {each}" for each in self._complaints(page)]
        return wrong

    def _open(self, page: Page, path: str) -> None:
        self._be(page.who)
        self.browser.get_log("browser")  # what the page before said
        self.browser.get(self.address + path)
        for name, text in page.typed.items():
            found = self.browser.find_element(By.ID, name)
            found.clear()
            found.send_keys(text)
        if page.press:
            self._press(page)
        if page.until:
            wait_for(self.browser, page.until, READY_S)

    def _press(self, page: Page) -> None:
        """By its form, as without a script, where it leads to another page."""
        selector = page.press
        wait_for(self.browser, f'return document.querySelector("{selector}")?.checkVisibility()', READY_S)
        if not page.leads_to:
            self.browser.find_element(By.CSS_SELECTOR, selector).click()
            return
        self.browser.execute_script(
            f'window.before = true; document.querySelector("{selector}").form.submit()'
        )
        wait_for(self.browser, "return !window.before && document.readyState === 'complete'", READY_S)

    def _be(self, who: str) -> None:
        if who == self.who:
            return
        self.browser.delete_all_cookies()
        if who in self.cookies:
            self.browser.get(self.address)  # cookies are given to the page that is open
            self.browser.add_cookie(self.cookies[who])
        self.who = who

    def _look(self, look: Look) -> None:
        media = [
            {"name": "prefers-color-scheme", "value": look.scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        size = {"width": look.width, "height": look.height, "deviceScaleFactor": 1}
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", size | {"mobile": look.width < 600}
        )

    def _take(self, name: str) -> None:
        asked = {"format": "png", "captureBeyondViewport": True}
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", asked)
        (self.folder / name).write_bytes(b64decode(taken["data"]))

    def _wrong(self, look: Look) -> Iterator[str]:
        wide = self.browser.execute_script("return document.documentElement.scrollWidth")
        if wide > look.width:
            yield f"it is {wide} px wide"
        yield from (f"no picture at {url}" for url in self.browser.execute_script(BROKEN_PICTURES))
        yield from (f"cut off: {each}" for each in self.browser.execute_script(CUT))

    def _complaints(self, page: Page) -> Iterator[str]:
        """What the browser's console had to say, but that the page itself is an error where it is to be one."""
        for entry in self.browser.get_log("browser"):
            expected = page.status != 200 and f"status of {page.status}" in entry["message"]
            if entry["level"] == "SEVERE" and not expected:
                yield entry["message"]


@contextmanager
def camera(address: str, folder: Path, cookies: Mapping[str, dict[str, Any]]) -> Iterator[Camera]:
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        yield Camera(browser, address, folder, cookies)
