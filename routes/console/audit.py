"""The audit log, for admins: which token did what, when, from where."""

from flask import Blueprint, Response

from auth import must_be_admin
from db import utcnow
from live import listing
from routes.console import lists
from routes.console.page import page
from schemas_admin import AuditQuery

bp = Blueprint("audit", __name__, url_prefix="/audit")
bp.before_request(must_be_admin)


@bp.get("")
def index() -> Response:
    asked, wrong = lists.asked(AuditQuery(), length=50)
    found = listing.audit(asked, utcnow())
    pager = lists.Pager.of(asked, found.total)
    return page("console/audit.html", rows=found.rows, pager=pager, wrong=wrong)
