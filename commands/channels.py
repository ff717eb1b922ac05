"""Channels from the command line: flask --app app channel."""

from typing import Any

import click

from commands import options
from commands.base import Group, command, lifecycle, links, note_more
from commands.text import sheet, table
from db import utcnow
from errors import NotFoundError
from live import listing
from live.links import fields_for_encoder, ingest
from live.snapshot import channel_object
from models import Channel, Session
from schemas import ChannelCreate, ChannelQuery, ChannelUpdate, CreatedOut, StreamOut

FIELDS = {
    "description": "Up to 5,000 characters.",
    "tags": "With commas: up to 20.",
    "mode": "How far viewers are behind.",
    "catchup": "Keep the broadcast for replay when it has ended.",
    "record": "Make an mp4 of the source.",
    "dvr": "Let viewers seek back while it is live.",
    "thumbnail": "Take pictures from the live stream.",
    "thumb_width": "Pixels.",
    "thumb_height": "Pixels.",
    "thumb_interval": "Seconds between pictures.",
    "transcode_profile": "The heights that viewers may choose from; never above the source.",
    "stop_timeout": "Seconds to wait for a publisher that has left; 0 ends at once.",
    "start_at": "Schedule it: like 2030-01-01T20:00:00Z, or none.",
    "playback": "signed: players need an address that expires.",
    "metadata": "A JSON object of your own.",
}
NEW = {
    "name": "What it is called.",
    "account_id": 'Whose it is; "1" without it.',
    **FIELDS,
    "region": "Where it is to go in, of the nodes' regions.",
    "expire": "Seconds after which it ends if nobody has published.",
    "stream_token": "Reuse the token of an earlier channel.",
}
CHANGED = {"name": "What it is called.", **FIELDS}
ASKED = {
    "status": "Only these.",
    "account_id": "Only this account's.",
    "query": "Words in the name.",
    "tags": "Any of these, with commas.",
    "from_": "Started (or made) since then; now is a time too.",
    "to": "And before then.",
    "order": "By start.",
    "page": "From 0.",
    "length": "How many on a page.",
}
ID = click.argument("channel_id", metavar="CHANNEL")
COLUMNS = {"ID": "id", "STATUS": "status", "ACCOUNT": "accountId", "STARTED": "startTime", "NAME": "name"}


@click.group(cls=Group)
def channel() -> None:
    """Channels: make them, look at them, change them, end them.

    What the API does, without a token: for the operator of the box. A CHANNEL is an id like ch_30894e0cef2c3c2c9b40.
    All of it works while the box runs and while it is down.
    """


@channel.command(
    "create",
    examples="""
        channel create --name "My first broadcast"
        channel create --name Concert --mode low-latency --record --tags music,live --start-at 2030-01-01T20:00:00Z
        channel create --name Lesson --account-id school --metadata '{"room": 12}' --json""",
)
@options.of(ChannelCreate, NEW)
@command(sheet)
def create(**given: Any) -> dict[str, Any]:
    """Make a channel, and print the two fields for the encoder: streamUrl and streamToken.

    In OBS, Settings, Stream: streamUrl goes into Server, streamToken into Stream Key. Everybody who has the token
    can broadcast.
    """
    asked = {"account_id": "1"} | options.read(ChannelCreate, given)
    made = lifecycle().create(asked, utcnow())
    ways = ingest(links().entrance(made, made.created_at), made.stream_token)
    return CreatedOut.show(_stream(made) | {"created_at": made.created_at, "ingest": ways})


@channel.command(
    "list",
    examples="""
        channel list --status live,error
        channel list --account-id school --query lesson --length 100 --json""",
)
@options.of(ChannelQuery, ASKED)
@command(table(COLUMNS, "There is no such channel."))
def list_channels(**given: Any) -> list[dict[str, Any]]:
    """Print channels, those that started last first."""
    now, asked = utcnow(), options.read(ChannelQuery, given)
    page = listing.channels(asked, now)
    sessions = listing.open_sessions(page.rows)
    note_more(len(page.rows), asked, page.total)
    return [channel_object(each, sessions.get(each.pk), links(), now) for each in page.rows]


@channel.command("show", examples="channel show ch_30894e0cef2c3c2c9b40")
@ID
@command(sheet)
def show(channel_id: str) -> dict[str, Any]:
    """Print a channel as the API shows it; its token is what `channel token` prints."""
    return _shown(_named(channel_id))


@channel.command(
    "update",
    examples="""
        channel update ch_30894e0cef2c3c2c9b40 --name "A better name" --no-record
        channel update ch_30894e0cef2c3c2c9b40 --start-at none""",
)
@ID
@options.of(ChannelUpdate, CHANGED)
@command(sheet)
def update(channel_id: str, **given: Any) -> dict[str, Any]:
    """Change what is given, and print the channel. Of one that has ended: name, description, tags, metadata."""
    return _shown(lifecycle().update(channel_id, options.read(ChannelUpdate, given), utcnow()))


@channel.command("stop", examples="channel stop ch_30894e0cef2c3c2c9b40")
@ID
@command(lambda shown: f"{shown['id']} has ended.")
def stop(channel_id: str) -> dict[str, Any]:
    """End a channel for good: its publisher is dropped and cannot come back. What is stored of it stays."""
    return _shown(lifecycle().stop(channel_id, utcnow()))


@channel.command("delete", examples="channel delete ch_30894e0cef2c3c2c9b40")
@ID
@command(lambda gone: f"{gone['id']} is removed, with its media.")
def delete(channel_id: str) -> dict[str, Any]:
    """End a channel and remove it, with all that is stored of it. There is no way back."""
    lifecycle().delete(channel_id, utcnow())
    return {"id": channel_id, "deleted": True}


@channel.command(
    "token",
    examples="""
        channel token ch_30894e0cef2c3c2c9b40
        channel token ch_30894e0cef2c3c2c9b40 --new --disconnect""",
)
@ID
@click.option("--new", is_flag=True, help="Replace the token: the old one is refused from now on.")
@click.option("--disconnect", is_flag=True, help="With --new: drop who publishes now, too.")
@command(sheet)
def token(channel_id: str, new: bool, disconnect: bool) -> dict[str, Any]:
    """Print the two fields for the encoder; with --new, after replacing the token."""
    if disconnect and not new:
        raise click.UsageError(
            "--disconnect goes with --new: an encoder that has the token comes straight back."
        )
    found = lifecycle().reset_token(channel_id, disconnect, utcnow()) if new else _named(channel_id)
    return StreamOut.show(_stream(found))


def _named(channel_id: str) -> Channel:
    found = Channel.named(channel_id)
    if found is None:
        raise NotFoundError.of("channel", channel_id)
    return found


def _shown(found: Channel) -> dict[str, Any]:
    return channel_object(found, Session.open_of(found), links(), utcnow())


def _stream(found: Channel) -> dict[str, Any]:
    return fields_for_encoder(found, links().entrance(found, utcnow()))
