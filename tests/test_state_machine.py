"""Anything that can happen, in any order, to real channels in a real database file: what must always hold.

Hypothesis looks for an order that breaks a rule of the contract. For a longer look than the suite's, with what
it finds made as short as can be: `python -m tests.test_state_machine 2000`.
"""

import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from db import bind, database, migrate
from errors import NotFoundError, NotPossibleError, TokenInUseError
from live.arrival import SILENT_ENOUGH, RefusedError
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from live.reconcile import NEW, lost_all, reconcile
from media.servers import Publisher
from models import Channel, EventName, Session, Status, Webhook, new_id
from schemas import ChannelUpdate
from tests import postgres
from tests.conftest import NOW
from tests.invariants import Watch
from tests.story import after, again, arrival, new

SECONDS = st.sampled_from([0, 0.5, 1, 4, 5, 9, 10, 30, 60, 120, 601, 899, 900, 1800, 3600, 86400])
ACCOUNTS = st.sampled_from(["1", "2"])
EVENTS = [name.value for name in EventName if name != EventName.TEST]


@cache
def template() -> Path:
    """A migrated, empty database, made once."""
    path = Path(tempfile.mkdtemp(prefix="machine")) / "empty.db"
    bind(f"sqlite:///{path}")
    migrate()
    return path


class Broadcasts(RuleBasedStateMachine):
    channels = Bundle("channels")
    connections = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine"))
        if postgres.WANTED:
            bind(postgres.url_for(self.folder))
        else:
            shutil.copy(template(), self.folder / "x.db")
            bind(f"sqlite:///{self.folder}/x.db")
        database.connect()
        self.rings = 0
        self.lifecycle = Lifecycle(
            Links("http://live.example", "rtmp://live.example/live"), Limits({}), self.ring
        )
        self.now = NOW
        self.instance, self.clients = 0xA, 0
        self.tokens: dict[str, list[str]] = {}  # of each channel, the present one last
        self.told: dict[str, str] = {}  # the token that each connection came with
        self.watch = Watch()

    def ring(self) -> None:
        assert not database.in_transaction(), "rung before the commit"
        self.rings += 1

    def teardown(self) -> None:
        database.close()
        shutil.rmtree(self.folder)

    def new_arrival(self):
        self.clients += 1
        return arrival(self.clients, f"{self.instance:x}")

    @initialize(wanted=st.lists(st.sets(st.sampled_from(EVENTS), min_size=1), max_size=3), account=ACCOUNTS)
    def webhooks(self, wanted, account):
        for number, names in enumerate(wanted):
            Webhook.create(
                id=new_id("wh"),
                uri="http://receiver.example/",
                events=sorted(names),
                account_id=account if number == 1 else None,
                secret="x",
                created_at=self.now,
            )

    # What an App Server does.

    @initialize(target=channels, stop_timeouts=st.tuples(st.sampled_from([0, 60]), st.sampled_from([0, 60])))
    def some_channels(self, stop_timeouts):
        return multiple(*(self.create_one("1", 600, seconds, None) for seconds in stop_timeouts))

    @rule(
        target=channels,
        account=ACCOUNTS,
        expire=st.sampled_from([60, 600, 86400]),
        stop_timeout=st.sampled_from([0, 10, 600]),
        start_in=st.none() | st.sampled_from([1, 600, 901, 7200]),
    )
    def create(self, account, expire, stop_timeout, start_in):
        return self.create_one(account, expire, stop_timeout, start_in)

    def create_one(self, account, expire, stop_timeout, start_in):
        start_at = start_in and (self.now + after(seconds=start_in)).isoformat()
        fields = {"accountId": account, "expire": expire, "stopTimeout": stop_timeout, "startAt": start_at}
        channel = new(self.lifecycle, self.now, **fields)
        assert channel.status == (Status.COMING if start_in else Status.INIT)
        self.tokens[channel.id] = [channel.stream_token]
        return channel

    @rule(target=channels, channel=channels, account=ACCOUNTS)
    def create_with_the_same_token(self, channel, account):
        token = self.tokens[channel.id][-1]
        holders = Channel.select().where(Channel.stream_token == token).order_by(Channel.pk)
        free = all(holder.over for holder in holders) and (not holders or holders[-1].account_id == account)
        try:
            made = new(self.lifecycle, self.now, accountId=account, streamToken=token)
        except TokenInUseError:
            assert not free
            return multiple()
        assert free
        self.tokens[made.id] = [token]
        return made

    @rule(channel=channels, stop_timeout=st.sampled_from([0, 1, 60, 1800]))
    def update_stop_timeout(self, channel, stop_timeout):
        self.update(channel, {"stopTimeout": stop_timeout})

    @rule(channel=channels, start_in=st.none() | st.sampled_from([-86400, -1, 0, 1, 600, 901, 86400]))
    def update_start(self, channel, start_in):
        start_at = None if start_in is None else (self.now + after(seconds=start_in)).isoformat()
        before = self.row(channel)
        if not (changed := self.update(channel, {"startAt": start_at})) or before.published_at:
            return
        if before.start_at == changed.start_at or changed.over:
            return
        ahead = start_in is not None and start_in > 0
        assert changed.status == (Status.COMING if ahead else Status.INIT)

    def is_over(self, channel):
        """Ended, or due to be: what is due happens before a change."""
        row = self.row(channel)
        return row is not None and self.watch.expected_after_timers(row, self.now)[0] == Status.ENDED

    def update(self, channel, fields):
        row, over = self.row(channel), self.is_over(channel)
        try:
            changed = self.lifecycle.update(channel.id, ChannelUpdate().load(fields), self.now)
        except NotFoundError:
            assert row is None
        except NotPossibleError:
            assert over
        else:
            assert not over
            return changed

    @rule(channel=channels, disconnect=st.booleans())
    def reset_token(self, channel, disconnect):
        row, session, over = self.row(channel), self.open_session(channel), self.is_over(channel)
        try:
            fresh = self.lifecycle.reset_token(channel.id, disconnect, self.now)
        except NotFoundError:
            assert row is None
        except NotPossibleError:
            assert over
        else:
            assert not over
            assert fresh.stream_token not in [token for tokens in self.tokens.values() for token in tokens]
            self.tokens[channel.id].append(fresh.stream_token)
            still = self.open_session(channel)
            assert still == (None if disconnect else session)

    @rule(channel=channels, twice=st.booleans())
    def stop(self, channel, twice):
        for _ in range(1 + twice):
            if self.row(channel) is None:
                with pytest.raises(NotFoundError):
                    self.lifecycle.stop(channel.id, self.now)
            else:
                was_over, counted = self.row(channel).over, self.row(channel).seq
                assert self.lifecycle.stop(channel.id, self.now).over
                assert not was_over or self.row(channel).seq == counted

    @rule(channel=channels)
    def delete(self, channel):
        if self.row(channel) is None:
            with pytest.raises(NotFoundError):
                self.lifecycle.delete(channel.id, self.now)
        else:
            self.lifecycle.delete(channel.id, self.now)
            assert self.row(channel) is None

    # What a media server tells.

    @rule(target=connections, channel=channels, old_token=st.booleans())
    def publish(self, channel, old_token):
        token = self.tokens[channel.id][0 if old_token else -1]
        self.try_to_publish(token, coming := self.new_arrival())
        return coming

    @rule(target=connections, channel=channels, good=st.booleans())
    def publish_and_show(self, channel, good):
        """The usual way, so that much of what follows happens on air."""
        self.try_to_publish(self.tokens[channel.id][-1], coming := self.new_arrival())
        self.watch.look(self.now)
        self.output(coming, good)
        return coming

    @rule(target=connections)
    def publish_with_an_unknown_token(self):
        self.try_to_publish("no-such-token", coming := self.new_arrival())
        return coming

    @rule(connection=connections)
    def publish_told_again(self, connection):
        self.try_to_publish(self.told[connection.connection], connection)

    @rule(connection=connections, channel=channels)
    def publish_another_channel_on_an_old_connection(self, connection, channel):
        self.try_to_publish(self.tokens[channel.id][-1], connection)

    def try_to_publish(self, token, coming):
        self.told.setdefault(coming.connection, token)
        known = Session.of_connection(coming.connection)
        rows = Channel.select().where((Channel.stream_token == token) & (Channel.status != Status.ENDED))
        holder = rows.first()
        holding = holder and Session.open_of(holder)
        try:
            session, reason = self.lifecycle.publish(token, coming, self.now), None
        except RefusedError as refusal:
            reason = refusal.reason
        if reason:
            rightly = {
                "unknown_token": lambda: not Channel.select().where(Channel.stream_token == token).exists(),
                "ended": lambda: holder is None or again(holder).over,
                "too_early": lambda: (
                    again(holder).status == Status.COMING and self.now < holder.start_at - after(minutes=15)
                ),
                "busy": lambda: holding and self.alive(holding, coming),
                "repeated": lambda: known and (known.stop_time or known.channel != holder),
            }
            assert rightly[reason]()
            return
        assert (session.connection, session.stop_time) == (coming.connection, None)
        assert session.channel == holder
        assert known is None or known == session
        if not known:
            assert holding is None or not self.alive(holding, coming)
            assert again(holder).status == Status.INIT

    def alive(self, session, coming):
        """A publisher of this nginx that has not been silent for long keeps others out."""
        if session.connection.split("/")[1] != coming.connection.split("/")[1]:
            return False
        return session.silent_since is None or self.now - session.silent_since < SILENT_ENOUGH

    @rule(connection=connections)
    def unpublish(self, connection):
        session = Session.of_connection(connection.connection)
        was_open = session is not None and session.stop_time is None
        assert self.lifecycle.unpublish(connection.connection, "left", self.now) is was_open
        assert not self.lifecycle.unpublish(connection.connection, "left", self.now), "told twice"

    @rule(choice=st.randoms(use_true_random=False), ghosts=st.integers(0, 2))
    def reconcile(self, choice, ghosts):
        mine = f"nginx-rtmp/{self.instance:x}"
        before = Session.all_open()
        there = [each for each in before if each.connection.startswith(f"{mine}/") and choice.random() < 0.7]
        seen = [self.seen(each, sending=choice.random() < 0.6) for each in there]
        strangers = [Publisher(f"{mine}/{n}", str(n), "x", 1) for n in range(900, 900 + ghosts)]
        assert reconcile(self.lifecycle, mine, seen + strangers, self.now) == [
            each.client_id for each in strangers
        ]
        for was in before:
            session = again(was)
            new_here = was.connection.startswith(f"{mine}/") and self.now - was.start_time < NEW
            if was in there or new_here:
                assert session.stop_time is None
            else:
                last = was.silent_since or was.last_byte_at
                assert (session.stop_time, session.end_reason) == (max(last, was.start_time), "lost")
        count = self.row_counts()
        assert reconcile(self.lifecycle, mine, seen, self.now) == []
        assert self.row_counts() == count, "looking again changes nothing"

    def seen(self, session, sending):
        number = session.connection.rpartition("/")[2]
        return Publisher(session.connection, number, session.id, session.bytes_in + sending)

    # What a packager shows.

    @rule(connection=connections, good=st.booleans())
    def show(self, connection, good):
        self.output(connection, good)

    def output(self, connection, good):
        session = Session.of_connection(connection.connection)
        session_id = session.id if session else "ses_none"
        before = session and session.channel.status
        changed = (
            self.lifecycle.playable(session_id, self.now)
            if good
            else self.lifecycle.unplayable(session_id, "no video", self.now)
        )
        aim = Status.LIVE if good else Status.ERROR
        assert changed is (session is not None and session.stop_time is None and before != aim)
        if changed:
            assert again(session.channel).status == aim

    # What time does.

    @rule(seconds=SECONDS)
    def wait(self, seconds):
        self.now += after(seconds=seconds)

    @rule()
    def run_due(self):
        expected = {row.id: self.watch.expected_after_timers(row, self.now) for row in Channel.select()}
        self.lifecycle.run_due(self.now)
        found = {row.id: (row.status, row.end_reason) for row in Channel.select()}
        assert found == expected
        assert Channel.due(self.now) == []
        assert self.lifecycle.run_due(self.now) == 0

    # What happens seldom: one rule, so that it does not crowd out the rest.

    @rule(what=st.sampled_from(["restart_nginx", "lose_nginx", "jump_back", "turn_webhooks", "gone_unknown"]))
    def seldom(self, what):
        getattr(self, what)()

    def restart_nginx(self):
        self.instance, self.clients = self.instance + 1, 0

    def lose_nginx(self):
        there = len(self.watch.open_sessions())
        assert lost_all(self.lifecycle, self.now) == there
        assert self.watch.open_sessions() == []

    def jump_back(self):
        self.now -= after(seconds=30)

    def turn_webhooks(self):
        Webhook.update(active=~Webhook.active).execute()

    def gone_unknown(self):
        assert not self.lifecycle.unpublish("nginx-rtmp/ff/1", "left", self.now)

    @invariant()
    def the_contract_holds(self):
        self.watch.look(self.now)

    def row(self, channel):
        return Channel.named(channel.id)

    def open_session(self, channel):
        row = self.row(channel)
        return row and Session.open_of(row)

    def row_counts(self):
        return [table.select().count() for table in (Session, *self.watch.COUNTED)]


QUICK = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # shrinking takes minutes: what is found here is shown as it was found
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_in_whatever_order_the_contract_holds():
    run_state_machine_as_test(Broadcasts, settings=QUICK)


if __name__ == "__main__":
    LONG = settings(QUICK, max_examples=int(sys.argv[1]), phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(Broadcasts, settings=LONG)
