"""Limits of accounts from the command line: flask --app app user."""

from typing import Any

import click

from commands import options
from commands.base import Group, command, limits, note_more
from commands.text import sheet, table
from db import utcnow
from errors import NotFoundError
from live import listing
from live.limits import usage
from models_access import User
from schemas import Page
from schemas_admin import LimitsIn, UserOut, UserUpdate

LIMITS = {
    "max_channels": "Channels that have not ended; none is no limit, here and below.",
    "max_live": "Publishers at the same time.",
    "max_duration": "Seconds on air of a channel.",
    "max_bitrate": "kbit/s of a publisher.",
    "max_height": "Lines of a publisher's picture.",
    "max_storage": "MB of what is kept.",
}
PAGES = {"page": "From 0.", "length": "How many on a page."}
ACCOUNT = click.argument("account_id", metavar="ACCOUNT")
COLUMNS = {"ACCOUNT": "id", "LIMITS": "limits", "USES": "usage", "NAME": "name"}


@click.group(cls=Group)
def user() -> None:
    """Users: what an account may use, and what it uses.

    An account without a user has the limits of the settings (USER_MAX_CHANNELS and so on).
    """


@user.command("list", examples="user list --length 100")
@options.of(Page, PAGES)
@command(table(COLUMNS, "No account has limits of its own."))
def list_users(**given: Any) -> list[dict[str, Any]]:
    """Print the accounts that have limits of their own, oldest first, with what they use."""
    asked = options.read(Page, given)
    page = listing.paged(User.select().order_by(User.pk), asked)
    note_more(len(page.rows), asked, page.total)
    return [_shown(each) for each in page.rows]


@user.command("show", examples="user show school")
@ACCOUNT
@command(sheet)
def show(account_id: str) -> dict[str, Any]:
    """Print the limits of an account, and what it uses."""
    found = User.named(account_id)
    if found is None:
        raise NotFoundError.of("user", account_id)
    return _shown(found)


@user.command(
    "set",
    examples="""
        user set school --max-live 5 --max-channels 50
        user set school --max-live none --name "The school"
    """,
)
@ACCOUNT
@click.option("--name", help="For you.")
@options.of(LimitsIn, LIMITS)
@command(sheet)
def set_limits(account_id: str, name: str | None, **given: Any) -> dict[str, Any]:
    """Change the limits that are given, and print all of them. What runs already is not cut."""
    asked = options.read(UserUpdate, {"name": name}) | {"limits": options.read(LimitsIn, given)}
    return _shown(limits().change(account_id, asked, utcnow()))


@user.command("reset", examples="user reset school")
@ACCOUNT
@command(lambda gone: f"{gone['id']} has the limits of the settings again.")
def reset(account_id: str) -> dict[str, Any]:
    """Give an account the limits of the settings again. Its channels stay."""
    limits().reset(account_id, utcnow())
    return {"id": account_id, "reset": True}


def _shown(found: User) -> dict[str, Any]:
    return UserOut().dump(found.__data__ | {"usage": usage(found.account_id)})
