"""A running box with a store: its own worker moves what was left, and players follow, by old addresses too."""

import shutil
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By

from db import connection, database, utcnow
from media import playlists
from tests.box import running_box, short_folder
from tests.broadcasts import broadcast_over
from tests.browser import chromium, video_state, wait_for
from tests.conftest import installation, prepared_app
from tests.object_store import ObjectStore
from tests.test_catchup import decoded
from tests.waiting import until

pytestmark = pytest.mark.box

# What the page has loaded to play.
ASKED = (
    "return performance.getEntriesByType('resource').map(r => r.name).filter(n => /[.](ts|m3u8)$/.test(n))"
)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Nowhere."""


def answered(url: str) -> tuple[int, str | None, str | None]:
    """Status, where it leads, and what browsers are told."""
    try:
        reply = urllib.request.build_opener(Stay).open(url, timeout=5)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        told = reply.headers
        return reply.status, told["Location"], told["Access-Control-Allow-Origin"]


def test_a_catch_up_moves_and_plays_from_the_store_and_old_addresses_lead_there():
    with ObjectStore() as far, short_folder() as folder:
        config = installation(folder)
        lifecycle = prepared_app(config).extensions["livestream"].lifecycle
        with connection():
            channel = broadcast_over(config, lifecycle)
            lifecycle.stop(channel.id, utcnow())
        database.close()
        with running_box(folder, **far.environment, DATABASE_URL=config.database_url) as box:
            base = f"{far.url}/videos/live/{channel.id}"
            shown = until(
                lambda: (it := box.channel(channel.id))["videoUrl"] == f"{base}/master_dvr.m3u8" and it,
                *(20, "it moves"),
            )
            old, files = f"{box.url}/play/{channel.id}", config.media_dir / channel.id
            pictures, _ = decoded(str(files / "source_dvr.m3u8"))
            assert decoded(shown["videoUrl"]) == (pictures, "")
            with chromium() as browser:
                browser.get(f"{box.url}/watch/{channel.id}")
                wait_for(browser, "return !document.querySelector('.again').hidden", 10)
                browser.find_element(By.CSS_SELECTOR, ".again").click()
                wait_for(browser, "return document.querySelector('video').currentTime > 0.5", 20)
                assert video_state(browser)["errors"] == []
                asked = browser.execute_script(ASKED)
            assert {urlsplit(url).netloc for url in asked} == {urlsplit(far.url).netloc}
            # As it is a minute later.
            assert answered(f"{old}/master_dvr.m3u8")[0] == 200, (
                "who is just asking is still answered from here"
            )
            [entry, *_] = playlists.parse((files / "source_dvr.m3u8").read_text()).entries
            for path in files.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.suffix == ".m3u8":
                    path.unlink()
            for name in ("master_dvr.m3u8", "source_dvr.m3u8", entry.uri):
                assert answered(f"{old}/{name}") == (302, f"{base}/{name}", "*")
            assert decoded(f"{old}/master_dvr.m3u8") == (pictures, "")
            for name in ("master.m3u8", "source.m3u8", "../signed", "moved"):
                assert answered(f"{old}/{name}")[0] == 404
            box.call("DELETE", f"/v1/live/{channel.id}?delete=true")
            until(lambda: far.names() == set(), 10, "the store has nothing of it")
            until(
                lambda: answered(f"{old}/master_dvr.m3u8")[0] == 404, 10, "nor does an old address lead there"
            )
