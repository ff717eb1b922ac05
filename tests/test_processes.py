"""WEB_PROCESSES: several processes that answer as one, on a real app.py; killed, asked to stop, and raced against."""

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import processes
from app import check_processes
from auth import FailedLogins
from config import ConfigError
from tests import postgres
from tests.box import short_folder
from tests.conftest import basic
from tests.processes import AUTHORIZATION, Web, web
from tests.race import at_once
from tests.test_doctor_running import doctor, failed
from tests.test_listeners import HEAD, answer_of, is_closed, posting
from tests.waiting import until

NUMBER = 3
HEADERS = {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}


@contextmanager
def several(folder, number: int = NUMBER):
    settings = {"DATABASE_URL": postgres.url_for(folder)} if postgres.WANTED else {}
    with web(folder, WEB_PROCESSES=str(number), **settings) as running:
        until(lambda: len(children(running)) == number, 10, "all of them are there")
        yield running


@pytest.fixture(scope="module")
def shared():
    with short_folder() as folder, several(folder) as running:
        yield running


@pytest.fixture
def own():
    with short_folder() as folder, several(folder) as running:
        yield running


def children(running: Web) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


def ports(process: psutil.Process) -> set[int]:
    """The clients whose connections this process has."""
    return {each.raddr.port for each in process.net_connections("tcp") if each.raddr}


@contextmanager
def one_to_each(running: Web):
    """An open connection to each of the processes; which of them takes one is chance."""
    found: dict[int, http.client.HTTPConnection] = {}
    with ExitStack() as stack:

        def another() -> bool:
            asking = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
            stack.callback(asking.close)
            assert asked(asking, "GET", "/healthz")[0] == 200
            mine = asking.sock.getsockname()[1]
            [taker] = [each.pid for each in children(running) if mine in ports(each)]
            found.setdefault(taker, asking)
            return len(found) == NUMBER

        until(another, 20, "each of them takes a connection")
        yield list(found.values())


def asked(
    asking: http.client.HTTPConnection, method: str, path: str, body=None, **headers
) -> tuple[int, bytes]:
    asking.request(method, path, None if body is None else json.dumps(body), HEADERS | headers)
    reply = asking.getresponse()
    return reply.status, reply.read()


# One as the other.


def test_each_of_them_answers_and_has_a_group_of_its_own(shared):
    with one_to_each(shared) as connections:
        ids = [
            json.loads(asked(each, "POST", "/v1/live", {"name": "A"})[1])["data"]["id"]
            for each in connections
        ]
        for each in connections:
            assert [asked(each, "GET", f"/v1/live/{one}")[0] for one in ids] == [200] * NUMBER
    assert all(os.getpgid(each.pid) == each.pid for each in children(shared)), "one signal is one"


def test_nothing_is_in_the_parent_that_a_fork_would_break(shared):
    parent = psutil.Process(shared.process.pid)
    assert parent.num_threads() == 1
    assert not [each.path for each in parent.open_files() if shared.database.name in each.path]
    assert not [each for each in parent.net_connections("all") if each.raddr], "a database's, for one"


@pytest.mark.sqlite
def test_doctor_takes_all_of_them_for_one_web(shared):
    settings = {"DATA_DIR": str(shared.data_dir), "PORT": str(shared.port), "MEDIA_SERVER": "none"}
    _, checks = doctor(os.environ | settings | {"WEB_PROCESSES": str(NUMBER)})
    assert failed(checks).keys() == {"worker"}, "there is none, and everything else is well"


def test_wrong_credentials_are_counted_whichever_process_they_are_sent_to(shared):
    wrong = basic("root", "not the secret of anybody")
    with one_to_each(shared) as connections:
        statuses = [
            asked(connections[number % NUMBER], "GET", "/v1/live", Authorization=wrong)[0]
            for number in range(FailedLogins.MOST + 2)
        ]
    assert statuses == [401] * (FailedLogins.MOST - 1) + [429] * 3


def scraped(asking: http.client.HTTPConnection) -> dict[tuple[str, ...], float]:
    text = asked(asking, "GET", "/metrics")[1].decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_the_same_whichever_process_is_asked_and_survive_its_death(shared):
    with one_to_each(shared) as connections:
        before = scraped(connections[0])
        for each in connections:
            asked(each, "POST", "/v1/live", {"name": "A"})
        found = [scraped(each) for each in connections]
    counted = [of_others(each) for each in found]
    assert counted[0] == counted[1] == counted[2]
    for key in (
        ("livestream_http_requests_total", "POST", "/v1/live", "201"),
        ("livestream_http_request_duration_seconds_count", "POST", "/v1/live"),
        ("livestream_channel_events_total", "created", "web"),
    ):
        assert counted[0][key] - before.get(key, 0) == NUMBER
    assert [each["livestream_web_processes",] for each in found] == [NUMBER] * NUMBER
    alone = psutil.Process(shared.process.pid).memory_info().rss
    assert found[0]["process_resident_memory_bytes",] > 2 * alone, "of all of them"
    for victim in children(shared):
        kill_and_await(shared, victim)
    with one_to_each(shared) as connections:
        after = [scraped(each) for each in connections]
    for each in after:
        assert of_others(each) == counted[0]
        assert each["livestream_web_deaths_total",] - found[0]["livestream_web_deaths_total",] == NUMBER
        assert each["process_cpu_seconds_total",] >= found[-1]["process_cpu_seconds_total",]


def of_others(found: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """What was counted of requests that this test does not make while it looks."""
    names = ("livestream_http", "livestream_channel_events")
    return {
        key: value
        for key, value in found.items()
        if key[0].startswith(names) and not {"/metrics", "/healthz"} & set(key)
    }


# Races across them.


def test_limits_hold_when_several_processes_are_asked_at_once(shared):
    limits = {"maxChannels": 6, "maxLive": 2}
    made = shared.call("POST", "/v1/user", {"id": "acme", "limits": limits})
    assert made[0] == 201, made
    body = {"name": "A", "accountId": "acme"}
    created = at_once([lambda: shared.call("POST", "/v1/live", body)] * 24)
    assert Counter(status for status, _ in created) == {201: 6, 403: 18}
    tokens = [told["data"]["streamToken"] for status, told in created if status == 201]
    hooks = [lambda token=token, n=n: shared.hook("publish", token, n) for n, token in enumerate(tokens, 1)]
    assert Counter(at_once(hooks)) == {302: 2, 403: 4}


def test_one_publisher_of_many_gets_a_stream_token(shared):
    token = shared.call("POST", "/v1/live", {"name": "Wanted by many"})[1]["data"]["streamToken"]
    hooks = [lambda number=number: shared.hook("publish", token, number) for number in range(100, 116)]
    assert Counter(at_once(hooks)) == {302: 1, 403: 15}


def test_a_repeated_create_makes_one_channel(shared):
    def create() -> tuple[int, str]:
        asking = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=30)
        key = {"Idempotency-Key": "the-same-one"}
        status, text = asked(asking, "POST", "/v1/live", {"name": "Once"}, **key)
        asking.close()
        return status, json.loads(text)["data"]["id"]

    assert len(set(at_once([create] * 12))) == 1


# One of them dies.


def kill_and_await(running: Web, victim: psutil.Process) -> set[int]:
    """kill -9; returns the clients that it had, when it is replaced."""
    victim.suspend()  # it takes nobody else from here on
    until(lambda: victim.status() == psutil.STATUS_STOPPED, 5, "it stands still")
    had = ports(victim)
    victim.kill()
    until(lambda: victim not in children(running) and len(children(running)) == NUMBER, 10, "it is replaced")
    return had


def test_whoever_is_killed_takes_along_its_own_clients_only_and_is_replaced(shared):
    channel = shared.call("POST", "/v1/live", {"name": "A"})[1]["data"]["id"]
    failed: list[tuple[int, Exception]] = []
    done, over = Counter(), threading.Event()

    def ask(keeps: bool, number: int) -> None:
        asking = http.client.HTTPConnection("127.0.0.1", shared.port, timeout=30)
        while not over.is_set():
            mine = 0
            try:
                asking.connect() if asking.sock is None else None
                mine = asking.sock.getsockname()[1]
                method, path, body = (
                    ("POST", "/v1/live", {"name": "B"}) if number else ("GET", "/v1/live", None)
                )
                status, _ = asked(asking, method, path if number else f"{path}/{channel}", body)
                assert status in (200, 201)
                done[keeps] += 1
            except Exception as error:
                failed.append((mine, error))
                asking.close()
            if not keeps:
                asking.close()
        asking.close()

    threads = [
        threading.Thread(target=ask, args=(keeps, number)) for keeps in (True, False) for number in (0, 0, 1)
    ]
    for thread in threads:
        thread.start()
    theirs: set[int] = set()
    for victim in children(shared):
        before = sum(done.values())
        until(lambda before=before: sum(done.values()) > before + 50, 20, "requests run")
        theirs |= kill_and_await(shared, victim)
    before = Counter(done)
    until(lambda: all(done[each] > before[each] + 20 for each in (True, False)), 20, "they go on")
    over.set()
    for thread in threads:
        thread.join(30)
    assert {mine for mine, _ in failed} <= theirs, failed
    assert all(isinstance(error, ConnectionError | http.client.HTTPException) for _, error in failed)
    assert not any(isinstance(error, ConnectionRefusedError) for _, error in failed)
    assert '"event":"web_died"' in shared.log.read_text()


def test_one_that_is_asked_to_stop_finishes_what_it_is_answering_and_is_replaced(shared):
    body = json.dumps({"name": "in flight"}).encode()
    with one_to_each(shared) as connections:
        client = connections[0].sock
        [taker] = [each for each in children(shared) if client.getsockname()[1] in ports(each)]
        client.sendall(posting(body[:5], len(body)))
        taker.terminate()
        assert asked(connections[1], "GET", "/v1")[0] == 200
        client.sendall(body[5:])
        assert answer_of(client)[0] == 201
    until(lambda: taker not in children(shared) and len(children(shared)) == NUMBER, 10, "it is replaced")


def test_who_dies_at_once_is_started_again_later_each_time():
    child, now, pauses = processes.Child(0), time.monotonic(), []
    for _ in range(7):
        child.pid, child.began = os.posix_spawnp("false", ["false"], os.environ), now
        until(lambda: child.reap(now) == 1, 5, "it ends")
        pauses.append(child.start_at - now)
    assert pauses == pytest.approx([*processes.PAUSES_S, processes.PAUSES_S[-1]])
    child.pid, child.began = os.posix_spawnp("false", ["false"], os.environ), now - processes.WELL_AFTER_S
    until(lambda: child.reap(now) == 1, 5, "it ends")
    assert child.start_at == now, "it had been well"


def test_who_cannot_be_started_is_tried_again_and_takes_none_of_the_others_along(monkeypatch):
    child = processes.Child(0)

    def full() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    child.start(lambda: None, 100.0)
    assert (child.pid, child.start_at) == (0, 100.0 + processes.NO_ROOM_S)
    assert child.reap(100.0) is None


# All of them end.


def test_without_the_parent_nobody_is_left_and_another_can_start(own):
    left = children(own)
    with own.connect() as client:
        client.sendall(f"POST /v1/live HTTP/1.1\r\n{HEAD}Content-Length: 10\r\n\r\n".encode())
        own.process.kill()
        own.process.wait(10)
        psutil.wait_procs(left, 5)
        assert not [each for each in left if each.is_running()]
        until(lambda: is_closed(client), 5, "its clients are told")
    assert not own.listens()
    with several(own.folder) as again:
        assert again.call("GET", "/v1/live")[0] == 200


def test_asked_to_stop_they_finish_what_is_in_flight_and_take_no_more(own):
    body = json.dumps({"name": "in flight"}).encode()
    left = children(own)
    with one_to_each(own) as connections, one_to_each(own) as idle:
        clients = [each.sock for each in connections]
        for client in clients:
            client.sendall(posting(body[:5], len(body)))
        for each in idle:
            asked(each, "GET", "/v1")  # by now each of them has read what was sent before
        own.process.terminate()
        until(lambda: not own.listens(), 5, "they take no more")
        until(
            lambda: all(is_closed(each.sock) for each in idle), 5, "connections without a request are closed"
        )
        assert own.process.poll() is None
        for client in clients:
            client.sendall(body[5:])
            assert answer_of(client)[0] == 201
        assert own.process.wait(10) == 0
    assert not [each for each in left if each.is_running()]
    assert "web_died" not in own.log.read_text()


def test_whoever_asks_twice_does_not_wait(own):
    with own.connect() as client:
        client.sendall(posting(b'{"na', 50))
        own.call("GET", "/v1")
        own.process.send_signal(signal.SIGINT)
        until(lambda: not own.listens(), 5, "they take no more")
        began = time.monotonic()
        own.process.send_signal(signal.SIGINT)
        assert own.process.wait(5) == 0
        assert time.monotonic() - began < 3
        with suppress(ConnectionResetError):
            assert client.recv(100) == b""


# How many there may be.


def test_a_worker_inside_is_refused_with_several(config):
    with pytest.raises(ConfigError, match="WEB_PROCESSES needs WORKER=apart"):
        check_processes(replace(config, web_processes=2))
    check_processes(replace(config, web_processes=2, worker="apart"))
    check_processes(config)
