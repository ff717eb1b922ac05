"""A person at the console: signs in, opens pages, sends the forms that are on them."""

from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class Person(FlaskClient):
    """Keeps cookies as a browser does. `send` posts the form of a page with what the form has in its fields."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app, app.response_class)

    def sign_in(self, token_id: str, secret: str, **fields: str) -> TestResponse:
        return self.post("/", data={"id": token_id, "secret": secret} | fields)

    def send(self, address: str, page: str | None = None, **typed: Any) -> TestResponse:
        """Open `page` (or the address itself), type into its form, send it to the address."""
        shown = self.get(page or address)
        assert shown.status_code == 200, (shown.status_code, shown.text)
        return self.post(address, data=Fields(shown.text, address).values | typed)


class Fields(HTMLParser):
    """What a browser would send of the form with this action, as it stands on the page."""

    def __init__(self, text: str, action: str) -> None:
        super().__init__()
        self.action = action
        self.values: dict[str, Any] = {}
        self.inside = False
        self.area = self.choice = None
        self.feed(text)
        assert self.values, f"there is no form for {action}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.inside = given.get("method") == "post" and given.get("action") in (None, self.action)
        name = given.get("name")
        if not self.inside or (not name and tag != "option"):
            return
        if tag == "input" and (given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self.add(name, given.get("value", ""))
        elif tag == "textarea":
            self.area = name
            self.values[name] = ""
        elif tag == "select":
            self.choice = name
        elif tag == "option" and "selected" in given:
            self.add(self.choice, given["value"])

    def add(self, name: str, value: str | None) -> None:
        before = self.values.get(name)
        self.values[name] = (
            value or "" if before is None else [*([before] if isinstance(before, str) else before), value]
        )

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.area = None
        elif tag == "form":
            self.inside = False
