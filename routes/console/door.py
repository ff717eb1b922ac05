"""The way in and out: sign in with an API token at /, sign out; and the guard that every console page has."""

from hmac import compare_digest
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, redirect, request, url_for

from auth import READING, act_as, log_in, may_change
from db import to_ms, utcnow
from errors import ForbiddenError
from routes.console.page import for_people, go, page
from routes.console.session import COOKIE, Session, give, of_request, sessions, take
from routes.context import box

front = Blueprint("front", __name__)
front.after_request(for_people)

WRONG = "There is no such token, or the secret is another one."
HOME = "/console/channels"


@front.get("/")
def sign_in() -> Response:
    """For whoever opens the address that the start printed."""
    if of_request(utcnow()):
        return redirect(HOME, 303)
    return ask()


@front.post("/")
def signed_in() -> Response:
    check_origin()
    now = utcnow()
    token = log_in(request.form.get("id", "").strip(), request.form.get("secret", "").strip(), now)
    if token is None:
        return refused()
    return give(redirect(wanted(request.form.get("next", "")), 303), sessions.begin(token, now))


@front.post("/sign-out")
def sign_out() -> Response:
    now = utcnow()
    if session := of_request(now):
        check_csrf(session)
        sessions.end(session, now)
    return take(go("front.sign_in", over="out"))


def ask(status: int = 200, message: str = "") -> Response:
    links, typed = box.links, request.form.get("id", "")
    back = request.form.get("next", request.args.get("next", ""))
    over = request.args.get("over", "")
    given = {"message": message, "typed": typed, "next": back, "over": over}
    return page("console/sign_in.html", status, url=links.public_url, rtmp_url=links.rtmp_url, **given)


def refused() -> Response:
    seconds = g.get("try_again_in")
    if not seconds:
        return ask(422, WRONG)
    reply = ask(429, f"Too many wrong secrets from your address; try again in {seconds} s.")
    reply.headers["Retry-After"] = str(seconds)
    return reply


def wanted(address: str) -> str:
    """Back to where somebody wanted to go: a page of the console, and no other place."""
    return address if address.startswith("/console/") else HOME


def enter() -> Response | None:
    """For the console's before_request: what require_token is for the API."""
    now = utcnow()
    session = of_request(now)
    if session is None:
        over = "idle" if COOKIE in request.cookies else ""
        back = request.full_path.rstrip("?") if request.method == "GET" else ""
        return redirect(url_for("front.sign_in", next=back, over=over), 303)
    g.session = session
    act_as(session.token, now)
    may_change()
    if request.method not in READING:
        check_csrf(session)
    return None


def stay(reply: Response) -> Response:
    """For its after_request: whoever does something is not idle. What a page asks by itself is not doing something."""
    session: Session | None = g.get("session")
    if session and not asks_by_itself() and session.is_stale(now := utcnow()):
        give(reply, session._replace(seen_ms=to_ms(now)))
    return reply


def asks_by_itself() -> bool:
    """console.js says so of what it fetches to keep a page current."""
    return "X-By-Itself" in request.headers


def check_csrf(session: Session) -> None:
    check_origin()
    if not compare_digest(request.form.get("csrf", "").encode(), sessions.csrf(session).encode()):
        raise ForbiddenError("This form is of another session. Go back, reload the page and send it again.")


def check_origin() -> None:
    """No page of another site sends our forms. Browsers say where a form comes from; others need not."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError("This form was sent from another site.")
    origin = request.headers.get("Origin")
    if origin and urlsplit(origin).netloc not in (request.host, urlsplit(box.links.public_url).netloc):
        raise ForbiddenError("This form was sent from another site.")
