"""The audit log, for admins (contract, section 6)."""

from typing import Any

from flask import Blueprint, Response

from auth import require_admin
from db import utcnow
from errors import ok_list
from live import listing
from routes.call import call
from schemas_admin import AuditOut, AuditQuery

bp = Blueprint("audit", __name__)
bp.before_request(require_admin)


@bp.get("")
@call(AuditQuery, gives={200: [AuditOut]})
def read_list(asked: dict[str, Any]) -> Response:
    """List what API tokens did, newest first; kept for 90 days."""
    page = listing.audit(asked, utcnow())
    return ok_list(AuditOut(many=True).dump(page.rows), page.total, asked["page"])
