"""Users: what an account may use and what it uses; for admins (contract, section 4)."""

from typing import Any

from flask import Blueprint, Response, request

from auth import require_admin
from db import utcnow
from errors import NotFoundError, created, nothing, ok, ok_list
from live import listing
from live.limits import usage
from models_access import User
from routes.call import call
from routes.context import box
from schemas import Page
from schemas_admin import UserCreate, UserOut, UserUpdate

bp = Blueprint("user", __name__)
bp.before_request(require_admin)

Asked = dict[str, Any]


@bp.post("")
@call(UserCreate, gives={201: UserOut})
def create(asked: Asked) -> Response:
    """Give an account limits of its own; those left out are the configuration's."""
    user = box.limits.create(asked, utcnow())
    return created(show(user), f"{request.path}/{user.account_id}")


@bp.get("")
@call(Page, gives={200: [UserOut]})
def read_list(asked: Asked) -> Response:
    """List users, oldest first, each with what it uses."""
    page = listing.paged(User.select().order_by(User.pk), asked)
    return ok_list([show(each) for each in page.rows], page.total, asked["page"])


@bp.get("/<account_id>")
@call(gives={200: UserOut})
def read(account_id: str) -> Response:
    """Read one user: its limits and its usage."""
    user = User.named(account_id)
    if user is None:
        raise NotFoundError.of("user", account_id)
    return ok(show(user))


@bp.route("/<account_id>", methods=["PUT", "PATCH"])
@call(UserUpdate, gives={200: UserOut})
def update(account_id: str, asked: Asked) -> Response:
    """Change the limits that are sent; makes the user of an account that has none."""
    return ok(show(box.limits.change(account_id, asked, utcnow())))


@bp.delete("/<account_id>")
@call(gives={204: None})
def delete(account_id: str) -> Response:
    """Reset an account to the configuration's limits; its channels stay."""
    box.limits.reset(account_id, utcnow())
    return nothing()


def show(user: User) -> dict[str, Any]:
    return UserOut().dump(user.__data__ | {"usage": usage(user.account_id)})
