"""API tokens, for admins (contract, section 1)."""

from typing import Any

from flask import Blueprint, Response, request

from auth import create_token, require_admin, revoke_token
from db import utcnow
from errors import NotFoundError, created, nothing, ok, ok_list
from live import listing
from models_access import Token
from routes.call import call
from schemas import Page
from schemas_admin import TokenCreate, TokenOut, TokenSecretOut

bp = Blueprint("token", __name__)
bp.before_request(require_admin)

Asked = dict[str, Any]


@bp.post("")
@call(TokenCreate, gives={201: TokenSecretOut})
def create(asked: Asked) -> Response:
    """Create an API token. Its secret is shown this once."""
    token, secret = create_token(asked, utcnow())
    return created(TokenSecretOut().dump(token.__data__ | {"secret": secret}), f"{request.path}/{token.id}")


@bp.get("")
@call(Page, gives={200: [TokenOut]})
def read_list(asked: Asked) -> Response:
    """List API tokens, oldest first, without their secrets."""
    page = listing.paged(Token.select().order_by(Token.pk), asked)
    return ok_list(TokenOut(many=True).dump(page.rows), page.total, asked["page"])


@bp.get("/<token_id>")
@call(gives={200: TokenOut})
def read(token_id: str) -> Response:
    """Read one API token, without its secret."""
    token = Token.named(token_id)
    if token is None:
        raise NotFoundError.of("token", token_id)
    return ok(TokenOut().dump(token))


@bp.delete("/<token_id>")
@call(gives={204: None})
def revoke(token_id: str) -> Response:
    """Revoke an API token: it is refused from now on."""
    revoke_token(token_id, utcnow())
    return nothing()
