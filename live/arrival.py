"""A publisher at the door."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models import Session
from models_nodes import Node

# A publisher that has been silent for this long no longer keeps the next one out: an encoder that lost its
# network comes back long before the media server notices that the old connection is dead.
SILENT_ENOUGH = timedelta(seconds=10)


class RefusedError(Exception):
    """This publisher may not publish. The reason is for the timeline and the log, never for the encoder."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Arrival:
    """A publisher, as the media server describes it."""

    connection: str
    client_ip: str
    encoder: str

    @property
    def instance(self) -> str:
        return instance_of(self.connection)


def instance_of(connection: str) -> str:
    """The media server process that a connection belongs to: all but the connection's number in it."""
    return connection.rpartition("/")[0]


def given_up(session: Session, arrival: Arrival, here: str, now: datetime) -> bool:
    """The session's publisher cannot be alive: its media server or its node is gone, or it fell silent a while ago.

    `here` is the node of the arrival: a node has one media server at a time, and says nothing about those of others.
    """
    if session.node == here and instance_of(session.connection) != arrival.instance:
        return True
    if session.node != here and Node.is_lost(session.node):
        return True
    return session.silent_since is not None and now - session.silent_since >= SILENT_ENOUGH
