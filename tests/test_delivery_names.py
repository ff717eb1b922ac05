"""Names of receivers: looked up once, judged by what they stand for, and never waited for by others."""

import socket
import threading

import pytest

from delivery.resolver import LOOK_UPS
from tests.outbox import dispatching, happen, hook, settled, tried
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def names(monkeypatch):
    """A name server of our own: addresses or an error by name; any other name hangs until the test is over."""
    book, asked, over = {}, [], threading.Event()

    def look_up(name, port, **more):
        asked.append(name)
        if name not in book:
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if isinstance(book[name], OSError):
            raise book[name]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in book[name]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    book["asked"] = asked
    yield book
    over.set()


@pytest.mark.parametrize("name", ["receiver.example", "Receiver.Example", "receiver.example."])
def test_a_name_is_looked_up_once_and_what_was_found_is_dialled(config, receiver, names, name):
    names[name.lower()] = ["127.0.0.1"]
    webhook = hook(config, f"http://{name}:{receiver.port}/in")
    rows = [happen(webhook, f"ch_{number}") for number in range(5)]
    with dispatching(config):
        assert [settled(row).status for row in rows] == ["delivered"] * 5
    assert names["asked"] == [name.lower()]
    assert receiver.requests[0].headers["host"].rstrip(".") != "127.0.0.1"


def test_of_several_addresses_those_that_are_allowed_are_tried(config, receiver, names):
    names["receiver.example"] = ["169.254.169.254", "127.0.0.1"]
    delivery = happen(hook(config, f"http://receiver.example:{receiver.port}/"))
    with dispatching(config, deadline=4.0):
        assert settled(delivery).status == "delivered"


def test_a_name_that_stands_for_a_metadata_service_is_not_dialled(config, names):
    names["innocent.example"] = ["169.254.169.254"]
    delivery = happen(hook(config, "http://innocent.example/"))
    with dispatching(config):
        assert "metadata" in tried(delivery)[0].error


def test_a_name_that_is_not_answered_ends_at_the_deadline_and_delays_nobody(config, receiver, names):
    names["receiver.example"] = ["127.0.0.1"]
    hanging = hook(config, "http://hanging.example/")
    rows = [happen(hanging, f"ch_{number}") for number in range(40)]
    elsewhere = [happen(hook(config, f"http://hanging{number}.example/")) for number in range(10)]
    with dispatching(config, deadline=1.5) as dispatcher:
        swift = happen(hook(config, f"http://receiver.example:{receiver.port}/"))
        dispatcher.wake()
        assert settled(swift).status == "delivered"
        for row in (rows[0], elsewhere[-1]):
            (attempt,) = tried(row)
            assert attempt.error.startswith("timeout")
            assert 1400 <= attempt.latency_ms <= 2500
    assert names["asked"].count("hanging.example") == 1


def test_a_name_that_was_not_found_is_asked_for_again_by_the_next_try(config, receiver, names):
    names["receiver.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    webhook = hook(config, f"http://receiver.example:{receiver.port}/")
    delivery = happen(webhook)
    with dispatching(config) as dispatcher:
        assert tried(delivery)[0].error == "name not found: receiver.example: Name or service not known"
        names["receiver.example"] = ["127.0.0.1"]
        fresh = happen(webhook, "ch_b")
        dispatcher.wake()
        assert settled(fresh).status == "delivered"


def test_hanging_names_beyond_the_number_of_look_ups_still_end_at_the_deadline(config, names):
    rows = [happen(hook(config, f"http://h{number}.example/")) for number in range(LOOK_UPS + 5)]
    with dispatching(config, deadline=1.0):
        assert all(tried(row)[0].error.startswith("timeout") for row in rows)
