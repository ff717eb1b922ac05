"""Who publishes and what happened, from the command line: flask --app app session, flask --app app event."""

import json
from typing import Any

import click

from commands import options
from commands.base import Command, Group, command, note, note_more
from commands.text import table
from db import utcnow
from errors import NotFoundError
from live import listing
from live.snapshot import session_ms
from models import Channel, Session
from schemas import Page, SessionOut
from schemas_admin import FeedQuery

SESSIONS = {
    "ID": "id",
    "CHANNEL": "channelId",
    "STARTED": "startTime",
    "SECONDS": "duration",
    "FROM": "clientIp",
    "ENDED BY": "endReason",
    "ENCODER": "encoder",
}
EVENTS = {"ID": "eventId", "CHANNEL": "id", "EVENT": "event", "STATUS": "status", "SESSION": "sessionId"}
FEED = {
    "after": "Events after this eventId; 0 is from the beginning.",
    "length": "How many.",
    "channel_id": "Only of this channel.",
    "event": "Only these.",
}


@click.group(cls=Group)
def session() -> None:
    """Sessions: who publishes now, and who did."""


@session.command(
    "list",
    examples="""
        session list
        session list --channel ch_30894e0cef2c3c2c9b40 --json""",
)
@click.option("--channel", "channel_id", metavar="CHANNEL", help="All sessions of this one, newest first.")
@options.of(Page, {"page": "Of a channel's; from 0.", "length": "Of a channel's: how many on a page."})
@command(table(SESSIONS, "Nobody publishes."))
def list_sessions(channel_id: str | None, **given: Any) -> list[dict[str, Any]]:
    """Print who publishes now, or with --channel who has published to one."""
    asked = options.read(Page, given)
    return _of(channel_id, asked) if channel_id else [_shown(each) for each in Session.all_open()]


@click.command(
    "event",
    cls=Command,
    examples="""
        event --after 1200 --length 1000 --json
        event --channel-id ch_30894e0cef2c3c2c9b40 --event channel_live,channel_ended""",
)
@options.of(FeedQuery, FEED)
@command(table(EVENTS, "There are no such events."))
def event(**given: Any) -> list[dict[str, Any]]:
    """Print the feed, oldest first: what webhooks are told.

    With --json each is the payload as it was delivered. Go on with --after and the last eventId you have.
    """
    asked = options.read(FeedQuery, given)
    page = listing.feed(asked, None)
    if page.rows and page.total > len(page.rows):
        note(f"{len(page.rows)} of {page.total}: --after {page.rows[-1].id} shows more.")
    return [json.loads(each.payload) for each in page.rows]


def _of(channel_id: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    channel = Channel.named(channel_id)
    if channel is None:
        raise NotFoundError.of("channel", channel_id)
    page = listing.sessions(channel, asked)
    note_more(len(page.rows), asked, page.total)
    return [_shown(each) for each in page.rows]


def _shown(found: Session) -> dict[str, Any]:
    seconds = session_ms(found, utcnow()) // 1000
    return {"channelId": found.channel.id} | SessionOut().dump(found.__data__ | {"duration": seconds})
