"""How many watched what, and for how long (contract, section 6)."""

from typing import Any

from flask import Blueprint, Response

from auth import account_filter, require_token
from db import utcnow
from errors import ok
from live import analytics
from routes.call import call
from schemas_analytics import AnalyticsOut, AnalyticsQuery

bp = Blueprint("analytics", __name__)
bp.before_request(require_token)


@bp.get("")
@call(AnalyticsQuery, gives={200: AnalyticsOut})
def read(asked: dict[str, Any]) -> Response:
    """Read viewers, views, watch time and broadcast time: over time, in sum, and of the most watched channels.

    Viewers are counted from playback requests on the media server, with any player and without cookies: one viewer
    is one address, user agent and channel, present from its first request to its last, as long as no 30 s pass
    between two. People behind one address with the same player count as one. `ccu` is the most viewers present at
    the same moment, `views` is presences that began, `watchTime` is the seconds of all presences. A minute is final
    after 40 s.

    Without `from` it is a day up to `to`, which is now by default. Times are taken in whole intervals of UTC, up to
    2,000 of them. Minutes are kept for RETENTION_ANALYTICS_DAYS, hours and days longer.
    """
    account_id = account_filter(asked.get("account_id"))
    return ok(AnalyticsOut().dump(analytics.report(asked, account_id, utcnow())))
