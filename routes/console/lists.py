"""Lists of the console: filters from the address, pages."""

from typing import Any, NamedTuple, Self

from flask import request
from marshmallow import ValidationError

from auth import account_filter
from errors import flatten
from wire import Wire

LENGTH = 20


def asked(schema: Wire, length: int = LENGTH) -> tuple[dict[str, Any], list[str]]:
    """The filters as the API's schema reads them, and what is wrong with them; then they ask for everything.

    What is left empty in a form of filters asks for nothing.
    """
    given = {name: text for name, text in request.args.items() if text.strip() and name != "done"}
    try:
        return schema.load_text({"length": str(length)} | given), []
    except ValidationError as error:
        wrong = flatten(error.normalized_messages())
        reasons = [f"{name}: {reason}" for name in wrong for reason in wrong[name]]
        return schema.load_text({"length": str(length)}), reasons


def asked_of_account(schema: Wire) -> tuple[dict[str, Any], list[str]]:
    """The same for a list that goes by account: of the token's own, or of the one that is asked for."""
    found, wrong = asked(schema)
    return found | {"account_id": account_filter(found.get("account_id"))}, wrong


class Pager(NamedTuple):
    """Where a page is in its list: for links to those around it."""

    page: int
    length: int
    total: int

    @classmethod
    def of(cls, asked: dict[str, Any], total: int) -> Self:
        return cls(asked["page"], asked["length"], total)

    @property
    def first(self) -> int:
        return min(self.page * self.length + 1, self.total)

    @property
    def last(self) -> int:
        return min((self.page + 1) * self.length, self.total)

    @property
    def has_next(self) -> bool:
        return self.last < self.total
