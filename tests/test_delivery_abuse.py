"""Receivers that mean harm, or are many: what they cost is bounded, and nobody else waits for them."""

import gzip
import time

import psutil
import pytest

from db import connection, database
from delivery import dispatcher as dispatching_module
from delivery.dispatcher import Shares
from delivery.queue import Front
from delivery.sender import DEADLINE_S
from models import Webhook
from tests.outbox import T0, again, dispatching, happen, hook, settled, tried, until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.usefixtures("app")


def answering(**answer):
    return Receiver(lambda request, number: Answer(**answer))


@pytest.mark.parametrize(
    "answer", [{"drip": "interim"}, {"drip": "header"}, {"drip": "body"}, {"silent": True}]
)
def test_whoever_never_comes_to_an_end_is_left_at_the_deadline(config, answer):
    """Each byte, header and interim answer would start a time-out per read again."""
    with answering(**answer) as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config, deadline=2.0):
            (attempt,) = tried(delivery)
    assert attempt.error.startswith("timeout")
    assert 1900 <= attempt.latency_ms <= 3000


def test_the_deadline_is_ten_seconds(config):
    with answering(drip="interim") as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config, deadline=DEADLINE_S):
            (attempt,) = tried(delivery)
    assert 9900 <= attempt.latency_ms <= 11_000


@pytest.mark.parametrize("kind", ["interim", "header"])
def test_a_flood_of_headers_is_cut_off_and_costs_no_memory(config, kind):
    own = psutil.Process()
    with answering(flood=kind) as receiver:
        delivery = happen(hook(config, receiver.url))
        before = own.memory_info().rss
        with dispatching(config, deadline=5.0):
            (attempt,) = tried(delivery)
    assert attempt.error
    assert again(delivery).status == "pending"
    assert attempt.latency_ms <= 6000
    assert own.memory_info().rss - before < 10_000_000


@pytest.mark.parametrize(("size", "status"), [(50_000_000, 200), (500_000_000, 500)])
def test_a_gzip_bomb_stays_closed(config, size, status):
    """Under and over the 64 KiB that are read; neither is unpacked."""
    bomb = gzip.compress(b"\0" * 10_000_000) * (size // 10_000_000)
    own = psutil.Process()
    with answering(status=status, headers={"Content-Encoding": "gzip"}, body=bomb) as receiver:
        delivery = happen(hook(config, receiver.url))
        before = own.memory_info().rss
        with dispatching(config, deadline=5.0):
            (attempt,) = tried(delivery)
    assert (attempt.status_code, attempt.error) == (status, None)
    assert bytes(attempt.answer) == bomb[:1024]
    assert own.memory_info().rss - before < 10_000_000


def test_a_thousand_webhooks_to_one_slow_host_delay_nobody_else(config):
    with answering(silent=True) as slow, Receiver() as swift:
        pattern, other = hook(config, slow.url), hook(config, swift.url)
        with connection(), database.atomic():
            for number in range(1000):
                fields = {name: getattr(pattern, name) for name in ("uri", "events", "secret", "created_at")}
                happen(Webhook.create(id=f"wh_{number}", account_id=f"a{number // 100}", **fields))
        with dispatching(config, deadline=30.0) as dispatcher:
            slow.wait(dispatching_module.PER_RECEIVER)
            took = []
            for number in range(30):
                began = time.monotonic()
                row = happen(other, f"ch_{number}")
                dispatcher.wake()
                assert settled(row).status == "delivered"
                took.append(time.monotonic() - began)
            assert len(slow.requests) == dispatching_module.PER_RECEIVER
        assert max(took) < 2


def front(number, host, port=80, failing=False):
    return Front(f"wh_{number}", f"http://{host}:{port}/", failing, T0)


def test_the_ports_of_a_host_share_the_part_of_one_machine():
    fronts = [front(number, "slow.example", 8000 + number) for number in range(100)]
    shares = Shares().split([*fronts, front(100, "Other.example.")])
    given = {each.webhook_id: count for each, count in shares}
    assert sum(given.values()) - given["wh_100"] == dispatching_module.PER_HOST
    assert given["wh_100"] == dispatching_module.PER_WEBHOOK


def test_one_host_in_several_spellings_is_one_host():
    spellings = ("slow.example", "SLOW.example", "slow.example.")
    shares = Shares().split([front(number, spellings[number % 3]) for number in range(100)])
    assert sum(count for _, count in shares) == dispatching_module.PER_RECEIVER


def test_those_that_fail_leave_half_of_the_room_to_those_that_do_not():
    failing = [front(number, f"host-{number}.example", failing=True) for number in range(500)]
    given = Shares().split(
        [*failing, *(front(500 + number, f"well-{number}.example") for number in range(12))]
    )
    to_failing = sum(count for each, count in given if each.failing)
    assert to_failing == dispatching_module.FOR_FAILING
    assert [count for each, count in given if not each.failing] == [dispatching_module.PER_WEBHOOK] * 12


def test_removing_a_webhook_cancels_what_waits_and_lets_what_is_in_flight_arrive(config, client):
    with answering(delay=0.5) as receiver:
        webhook = hook(config, receiver.url)
        flying, behind = happen(webhook), happen(webhook)
        with dispatching(config, deadline=5.0):
            receiver.wait(1)
            assert client.delete(f"/v1/webhook/{webhook.id}").status_code == 204
            assert again(behind).status == "cancelled"
            until(lambda: again(flying).status == "delivered")
    assert len(receiver.requests) == 1
