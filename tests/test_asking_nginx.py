"""Asking nginx: the answer is whole, in time and of a size, or there is none; and nobody there is not silence."""

import itertools
import socket
import time

import pytest

from media.servers import MediaServerError
from media.servers.asking import ANSWER_MAX, ASK_TIMEOUT_S
from media.servers.nginx_rtmp import NginxRtmp
from tests.box import short_folder
from tests.faults.history import History
from tests.faults.nginx import Client, FakeNginx


@pytest.fixture
def folder():
    with short_folder() as short:
        yield short


@pytest.fixture
def fake(folder):
    (folder / "streams").mkdir()
    history = History(folder / "history.jsonl")
    made = FakeNginx(folder / "media", folder / "hooks", lambda: "secret", folder / "streams", history)
    made.start()
    yield made
    made.die()
    history.close()


@pytest.fixture
def asked(fake) -> NginxRtmp:
    return NginxRtmp(fake.media_socket)


def refused(asked: NginxRtmp) -> MediaServerError:
    with pytest.raises(MediaServerError) as refusal:
        asked.look()
    return refusal.value


def test_its_publishers_and_its_instance_are_seen_and_one_is_dropped(fake, asked):
    fake.clients[4] = Client(4, "KEY", "ses_a")
    look = asked.look()
    assert look.instance == f"nginx-rtmp/{fake.instance}"
    assert [each.stream for each in look.publishers] == ["ses_a"]
    asked.drop("4")
    assert asked.look().publishers == []


def test_an_answer_that_drips_ends_at_the_deadline(fake, asked):
    fake.lie = lambda xml: ((time.sleep(0.2), xml[n : n + 1])[1] for n in range(len(xml)))
    began = time.monotonic()
    error = refused(asked)
    assert ASK_TIMEOUT_S - 0.2 < time.monotonic() - began < ASK_TIMEOUT_S + 1
    assert not error.gone
    assert "nginx does not answer" in str(error)


def test_an_answer_without_end_is_cut_off_when_it_is_too_large(fake, asked):
    sent = []
    fake.lie = lambda xml: (sent.append(65536) or b" " * 65536 for _ in itertools.count())
    assert not refused(asked).gone
    assert ANSWER_MAX < sum(sent) < 2 * ANSWER_MAX


def test_an_answer_that_breaks_off_is_none(fake, asked):
    def breaks_off(xml):
        yield xml[: len(xml) // 2]
        raise ConnectionError

    fake.lie = breaks_off
    assert not refused(asked).gone


@pytest.mark.parametrize("socket_file", [False, True], ids=["no socket", "nobody listens"])
def test_nobody_there_is_gone(folder, socket_file):
    if socket_file:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(folder / "nobody"))
    assert refused(NginxRtmp(folder / "nobody")).gone


def test_a_socket_that_accepts_and_says_nothing_is_not_gone(folder):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "silent"))
        silent.listen()
        assert not refused(NginxRtmp(folder / "silent")).gone


def test_an_empty_answer_is_none(fake, asked):
    fake.lie = lambda xml: b""
    assert not refused(asked).gone
