"""The event feed: what webhooks were told, to catch up by asking (contract, section 3)."""

import json
from typing import Any

from flask import Blueprint, Response, g

from auth import require_token
from errors import ok_list
from live import listing
from routes.call import call
from schemas_admin import EventOut, FeedQuery

bp = Blueprint("event", __name__)
bp.before_request(require_token)


@bp.get("")
@call(FeedQuery, gives={200: [EventOut]})
def read_list(asked: dict[str, Any]) -> Response:
    """List events after one, oldest first; kept for 30 days. Go on with `after` = the last `eventId` you have."""
    page = listing.feed(asked, g.token.account_id)
    return ok_list([json.loads(event.payload) for event in page.rows], page.total, 0)
