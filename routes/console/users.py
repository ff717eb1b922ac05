"""Users, for admins: what an account may use and what it uses."""

from typing import Any

from flask import Blueprint, Response

from auth import must_be_admin
from db import utcnow
from errors import NotFoundError
from live import listing
from live.limits import usage
from models_access import User
from routes.console import lists
from routes.console.forms import Form
from routes.console.page import go, page
from routes.context import box
from schemas import Page
from schemas_admin import LimitsIn
from wire import ACCOUNT_ID, AccountId, Text

bp = Blueprint("users", __name__, url_prefix="/users")
bp.before_request(must_be_admin)

# A usage, and the limit that it counts against.
MEASURED = (("channels", "max_channels"), ("live", "max_live"), ("storage", "max_storage"))


class UserFields(LimitsIn):
    """A user as a form has it: the limits beside the name."""

    name = Text(0, 255, trim=True)


class NewUserFields(UserFields):
    account_id = AccountId(required=True, data_key="id")


@bp.get("")
def index() -> Response:
    asked, _ = lists.asked(Page())
    found = listing.paged(User.select().order_by(User.pk), asked)
    rows = [{"user": each, "used": used(each.account_id, each.limits)} for each in found.rows]
    pager = lists.Pager.of(asked, found.total)
    return page("console/users.html", rows=rows, pager=pager)


@bp.get("/new")
def new() -> Response:
    defaults = box.limits.defaults | {"name": "", "account_id": ""}
    return page("console/user_new.html", form=Form.showing(NewUserFields(), defaults))


@bp.post("/new")
def create() -> Response:
    form = Form.sent(NewUserFields())
    with form.asking():
        user = box.limits.create(as_user(form.load()), utcnow())
        return go(".read", account_id=user.account_id, done="created")
    return page("console/user_new.html", form.code, form=form)


@bp.get("/<account_id>")
def read(account_id: str) -> Response:
    """Of an account without a user too: what it has is the configuration's, until it is given its own."""
    return shown(account_id, form_of(account_id))


@bp.post("/<account_id>")
def update(account_id: str) -> Response:
    form = Form.sent(UserFields())
    with form.asking():
        box.limits.change(account_id, as_user(form.load()), utcnow())
        return go(".read", account_id=account_id, done="saved")
    return shown(account_id, form)


@bp.get("/<account_id>/reset")
def confirm(account_id: str) -> Response:
    if User.named(account_id) is None:
        raise NotFoundError.of("user", account_id)
    return page("console/user_reset.html", account_id=account_id)


@bp.post("/<account_id>/reset")
def reset(account_id: str) -> Response:
    box.limits.reset(account_id, utcnow())
    return go(".read", account_id=account_id, done="saved")


def shown(account_id: str, form: Form) -> Response:
    user, now_used = User.named(account_id), used(account_id, box.limits.of(account_id))
    return page("console/user.html", form.code, account_id=account_id, user=user, used=now_used, form=form)


def form_of(account_id: str) -> Form:
    if not ACCOUNT_ID.fullmatch(account_id):
        raise NotFoundError.of("account", account_id)
    user = User.named(account_id)
    return Form.showing(UserFields(), box.limits.of(account_id) | {"name": user.name if user else ""})


def used(account_id: str, limits: dict[str, int | None]) -> list[tuple[str, int, int | None]]:
    """What counts against a limit, and the limit."""
    uses = usage(account_id)
    return [(name, uses[name], limits.get(limit)) for name, limit in MEASURED]


def as_user(fields: dict[str, Any]) -> dict[str, Any]:
    """As the API has it: limits in an object of their own."""
    own = {name: fields[name] for name in ("name", "account_id") if name in fields}
    return own | {"limits": {name: value for name, value in fields.items() if name not in own}}
