"""API tokens, for admins: a new one's secret is shown once."""

from flask import Blueprint, Response

from auth import create_token, must_be_admin, revoke_token
from db import utcnow
from errors import NotFoundError
from live import listing
from models_access import Token
from routes.console import lists
from routes.console.forms import Form
from routes.console.page import go, page
from schemas import Page
from schemas_admin import TokenCreate

bp = Blueprint("tokens", __name__, url_prefix="/tokens")
bp.before_request(must_be_admin)


@bp.get("")
def index() -> Response:
    asked, _ = lists.asked(Page())
    found = listing.paged(Token.select().order_by(Token.pk.desc()), asked)
    pager = lists.Pager.of(asked, found.total)
    return page("console/tokens.html", rows=found.rows, pager=pager, now=utcnow())


@bp.get("/new")
def new() -> Response:
    schema = TokenCreate()
    return page("console/token_new.html", form=Form.showing(schema, schema.load({"role": "app"})))


@bp.post("/new")
def create() -> Response:
    form = Form.sent(TokenCreate())
    with form.asking():
        token, secret = create_token(form.load(), utcnow())
        return page("console/token_made.html", token=token, secret=secret)
    return page("console/token_new.html", form.code, form=form)


@bp.get("/<token_id>/revoke")
def confirm(token_id: str) -> Response:
    token = Token.named(token_id)
    if token is None:
        raise NotFoundError.of("token", token_id)
    return page("console/token_revoke.html", token=token)


@bp.post("/<token_id>/revoke")
def revoke(token_id: str) -> Response:
    revoke_token(token_id, utcnow())
    return go(".index", done="revoked")
