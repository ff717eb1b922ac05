"""script/screenshots: that no page is forgotten, that it finds what is wrong with one, and that it runs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask

from tests.box import PROJECT
from tests.screens.camera import camera
from tests.screens.pages import LEFT_OUT, PAGES, Page

API = ("/v1", "/livestream")
WELL = (
    b"<!doctype html><html lang=en><title>Well</title><meta name=viewport content=width=device-width><p>Well"
)
BROKEN = b"""<!doctype html><html lang=en><title>Broken</title><meta name=viewport content="width=device-width">
<div style="width: 900px">Wide</div><img src=/nothing.png><script src=/nothing.js></script>
<p style="width: 5rem; overflow: hidden; white-space: nowrap">Longer than there is room for</p>
<script>throw new Error("thrown")</script>"""


def endpoints(app: Flask) -> set[str]:
    """Of everything that is not the API."""
    return {rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith(API)}


def photographed(app: Flask) -> set[str]:
    routes = app.url_map.bind("live.example")
    opened = {routes.match(page.path.partition("?")[0].partition("#")[0])[0] for page in PAGES}
    return opened | {page.leads_to for page in PAGES if page.leads_to}


def test_every_page_is_photographed_or_left_out_for_a_reason(app):
    assert endpoints(app) - photographed(app) - LEFT_OUT.keys() == set()


def test_what_is_left_out_is_there_and_is_not_photographed(app):
    assert LEFT_OUT.keys() - endpoints(app) == set()
    assert LEFT_OUT.keys() & photographed(app) == set()
    assert photographed(app) <= endpoints(app)


def test_no_two_pages_have_the_same_name():
    names = [page.name for page in PAGES]
    assert sorted(set(names)) == sorted(names)


@contextmanager
def site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {"/broken": BROKEN, "/missing": WELL, "/well": WELL}.get(self.path)
            self.send_response(404 if body is None or self.path == "/missing" else 200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Not in the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_finds_what_is_wrong_with_a_page_and_nothing_where_all_is_well(tmp_path):
    with site() as address, camera(address, tmp_path, {}) as taking:

        def wrong(page: Page) -> list[str]:
            return taking.photograph(page, page.path)

        found = "\n".join(wrong(Page("broken", "/broken")))
        assert "broken (light, 360 px): it is 9" in found
        assert "(light, 1280 px): it is" not in found
        assert f"broken (dark, 360 px): no picture at {address}/nothing.png" in found
        assert "broken (dark, 1280 px): cut off: P : Longer than there is room for" in found
        assert "nothing.js" in found
        assert "thrown" in found
        assert wrong(Page("well", "/well")) == []
        assert wrong(Page("missing", "/missing", status=404)) == []
        assert any("status of 404" in each for each in wrong(Page("not-meant", "/missing")))
    taken = {path.name for path in tmp_path.iterdir()}
    assert {f"well.{scheme}-{width}.png" for scheme in ("light", "dark") for width in (1280, 360)} <= taken


@pytest.mark.box
def test_the_script_leaves_a_picture_of_each_page_in_each_look(tmp_path):
    pages = ["sign-in-over", "channels-filtered"]
    asked = [PROJECT / "script/screenshots", tmp_path / "pictures", "--only", ",".join(pages)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=170)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (
        0,
        [f"2 pages are in {tmp_path / 'pictures'}, 0 findings."],
    ), done.stderr
    looks = ("light-1280", "dark-1280", "light-360", "dark-360")
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [each.name for each in pictures] == sorted(
        f"{page}.{look}.png" for page in pages for look in looks
    )
    assert all(is_png(each) for each in pictures)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000
