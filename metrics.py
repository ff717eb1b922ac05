"""What Prometheus asks for: what web's processes counted, what the worker's pulse says that it counted, and what the
database holds at the moment of the question. docs/operations.md, "Metrics and alerts"; ops/ has a dashboard and alerts.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import Any

import psutil
from prometheus_client import Histogram, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from config import Config
from database_url import is_on_server
from db import utcnow
from db_sqlite import path_of, wal_bytes
from live import system, telling
from media import tls
from media.disk import least_free
from models_chores import Stored
from together import NUMBERS, counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BUCKETS = Histogram.DEFAULT_BUCKETS
DECISION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, float("inf"))
REQUESTS, SECONDS, DECISIONS, DECIDED = "requests", "seconds", "decisions", "decided"
NOTHING = [0.0] * NUMBERS
# See Lifecycle.publish and Limits.refusal. Each counts from the beginning: Prometheus sees no increase from nothing.
RESULTS = (
    *("accepted", "unknown_token", "ended", "too_early", "busy", "repeated"),
    *("limit_live", "limit_storage", "limit_duration", "no_storage", "failed"),
)


def count(method: str, route: str, status: int, seconds: float) -> None:
    """One request. `route` is the rule, never the path, and a method one that there is: labels that whoever asks
    may choose would grow without end."""
    method = method if method in METHODS else "other"
    counts.add(f"{REQUESTS}\t{method}\t{route}\t{status}")
    counts.add(f"{SECONDS}\t{method}\t{route}", bisect_left(BUCKETS, seconds), seconds)


class Decision:
    """Whether a publisher may; what is never said failed."""

    result = "failed"


@contextmanager
def deciding() -> Iterator[Decision]:
    made, began = Decision(), time.monotonic()
    try:
        yield made
    finally:
        took = time.monotonic() - began
        counts.add(f"{DECISIONS}\t{made.result}")
        counts.add(DECIDED, bisect_left(DECISION_BUCKETS, took), took)


def exposition(config: Config) -> bytes:
    """The text that Prometheus reads, the same whichever of web's processes is asked."""
    return generate_latest(_Now(config))


class _Now:
    """What is true now; quacks like a registry. What nobody knows, as while the worker is away, is left out."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def collect(self) -> Iterator[Metric]:
        known, last = system.statistics(self.config), system.pulse(self.config)
        yield from _processes(counts.pids())
        yield from _requests()
        yield from _on_air(known)
        yield from _nodes(known["nodes"])
        yield from _webhooks(known, last.get("deliveries"))
        yield from _timeline(last)
        if "renditions" in last:
            yield from _worker(last, self.config)
        yield from _box(known, self.config)


def _processes(pids: list[int]) -> Iterator[Metric]:
    """Of web: process_open_fds, process_resident_memory_bytes and kin. Several processes are added up; open files
    are of the one that is nearest to its limit, which is what an alert is about."""
    parent = os.getppid() if len(pids) > 1 else None
    found = [
        {
            family.name: family
            for family in ProcessCollector(pid=lambda each=each: each, registry=None).collect()
        }
        for each in ([parent] if parent else []) + pids
    ]
    found = [each for each in found if "process_open_fds" in each]  # the others have just died
    if not found:
        return
    files = max(found, key=lambda each: _value(each["process_open_fds"]) / _value(each["process_max_fds"]))
    for name, family in found[0].items():
        values = [_value(each[name]) for each in found]
        if name in ("process_open_fds", "process_max_fds"):
            family = files[name]
        elif name != "process_start_time_seconds":
            gone = _cpu_of_the_dead(parent) if parent and name == "process_cpu_seconds" else 0
            family = type(family)(name, family.documentation, value=sum(values) + gone)
        yield family
    yield _is("web_processes", "Processes of web that answer requests", len(found) - bool(parent))
    yield _total(
        "web_deaths", "Processes of web that ended without being asked to, and were replaced", counts.deaths()
    )
    threads = 0
    for each in pids:
        with suppress(psutil.Error):
            threads += psutil.Process(each).num_threads()
    yield _is("web_threads", "Threads of web, of all of its processes", threads)


def _value(family: Metric) -> float:
    return family.samples[0].value


def _cpu_of_the_dead(parent: int) -> float:
    """What those that were replaced had used: a counter must not fall."""
    try:
        times = psutil.Process(parent).cpu_times()
    except psutil.Error:
        return 0.0
    return times.children_user + times.children_system


def _requests() -> Iterator[Metric]:
    asked = CounterMetricFamily(
        "livestream_http_requests",
        "HTTP requests that web has answered, by route; hooks of the media server are among them",
        labels=["method", "route", "status"],
    )
    took = HistogramMetricFamily(
        "livestream_http_request_duration_seconds",
        "Time from a request's arrival until its answer was made",
        labels=["method", "route"],
    )
    decided = HistogramMetricFamily(
        "livestream_publish_decision_duration_seconds",
        "Time that an encoder waited for the decision whether it may publish; 0.05 is the promise",
        labels=[],
    )
    results = dict.fromkeys(RESULTS, 0.0)
    total = {DECIDED: NOTHING} | counts.total()
    for name, numbers in total.items():
        kind, *labels = name.split("\t")
        if kind == REQUESTS:
            asked.add_metric(labels, numbers[0])
        elif kind == SECONDS:
            took.add_metric(labels, _buckets(BUCKETS, numbers), numbers[-1])
        elif kind == DECISIONS:
            results[labels[0]] = numbers[0]
        elif kind == DECIDED:
            decided.add_metric(labels, _buckets(DECISION_BUCKETS, numbers), numbers[-1])
    yield asked
    yield took
    yield _counted(
        "publish_decisions",
        "Encoders that asked to publish: accepted, or why not, by the names of the timeline's refused",
        "result",
        results,
    )
    yield decided


def _buckets(bounds: Sequence[float], numbers: list[float]) -> list[tuple[str, float]]:
    """As Prometheus has them: each holds those before it."""
    return list(zip(map(floatToGoString, bounds), accumulate(numbers), strict=False))


def _on_air(known: Mapping[str, Any]) -> Iterator[Metric]:
    yield _by("channels", "Channels, by status", "status", known["channels"])
    yield _by("live_channels", "Channels that are live, by health", "health", system.live_by_health())
    yield _is("sessions_open", "Encoders that publish now", known["sessions"])
    yield _is("ingest_bits_per_second", "What encoders send, over their last 10 s", known["bitrate_in"])
    if known["viewers"] is not None:
        yield _is("viewers", "Viewers that asked for something within the last 30 s", known["viewers"])
        yield _is(
            "playback_bits_per_second", "What viewers are sent, over the last 10 s", known["bitrate_out"]
        )


def _nodes(nodes: list[dict[str, Any]]) -> Iterator[Metric]:
    ups = {node["name"]: int(node["status"] != "lost") for node in nodes}
    yield _by("node_up", "Whether a media node gives signs of life", "node", ups)
    load = {node["name"]: node["publishers"] for node in nodes}
    yield _by("node_publishers", "Encoders that publish to a media node now", "node", load)


def _webhooks(known: Mapping[str, Any], tally: Mapping[str, Any] | None) -> Iterator[Metric]:
    now = utcnow()
    yield _by(
        "webhooks", "Webhooks: ok, failing (nothing has arrived lately) or off", "state", system.webhooks()
    )
    yield _by(
        "deliveries",
        "Webhook deliveries that are kept: waiting for their turn or another try, and given up",
        "status",
        known["deliveries"],
    )
    yield _is(
        "delivery_oldest_pending_age_seconds",
        "Age of the oldest delivery that has not arrived; up to a day and a half where a receiver is down",
        system.oldest_pending_s(now),
    )
    yield _is(
        "delivery_overdue_seconds",
        "For how long a delivery to a receiver that is well has been due and not begun: the worker's own delay",
        system.overdue_s(now),
    )
    if tally:
        yield _counted(
            "delivery_tries", "Tries of deliveries, by what came of them", "outcome", tally["tries"]
        )
        yield _total("delivery_wait_seconds", "Time spent waiting for receivers", tally["waited_ms"] / 1000)
        yield _total("deliveries_given_up", "Deliveries that failed for good", tally["given_up"])
        yield _total(
            "webhooks_turned_off", "Webhooks turned off after five days or a 410", tally["turned_off"]
        )


def _timeline(last: Mapping[str, Any]) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "livestream_channel_events",
        "What happened to channels, by the names of their timelines, and the process that wrote it down",
        labels=["event", "process"],
    )
    processes = {"web": telling.told()}
    if last.get("pid", os.getpid()) != os.getpid():  # WORKER=inside: one process, one count
        processes["worker"] = last["timeline"]
    for process, told in processes.items():
        for event, times in told.items():
            family.add_metric([event, process], times)
    yield family


def _worker(last: Mapping[str, Any], config: Config) -> Iterator[Metric]:
    made = last["renditions"]
    yield _is("worker_start_time_seconds", "When the worker began, in seconds since 1970", last["began"])
    yield _total(
        "worker_step_failures", "Steps of the worker that failed and are tried again", last["steps_failed"]
    )
    yield _total(
        "media_job_failures",
        "Recordings, downloads and storyboards that failed, tries included",
        last["jobs_failed"],
    )
    yield _total(
        "store_uploads", "Objects that were sent to the S3-compatible store", last["store"]["uploads"]
    )
    yield _total(
        "store_failures",
        "Times that the store was down or refused, or a file could not be read; each is tried again",
        last["store"]["failures"],
    )
    pending, size = Stored.count()
    yield _is("store_pending", "Channels whose objects in the store are not yet what they are to be", pending)
    yield _is("store_bytes", "Size of all objects in the store", size)
    yield _is("renditions", "Renditions that are made now", made["made"])
    yield _is("renditions_left_out", "Renditions that were asked for and are not made", made["left_out"])
    yield _is("transcode_cores", "Processor cores that renditions are expected to take", made["cores"])
    yield _is("transcode_cores_limit", "TRANSCODE_CORES: what they may take", config.transcode_cores)
    yield _is(
        "playlist_age_seconds",
        "Age of the newest segment of the channel that is furthest behind, of those that are sent something",
        last["playlist_age"],
    )
    yield _is(
        "disk_level",
        "What the disk guard does: 0 nothing, 1 keeps nothing more, 2 cuts DVR",
        last["disk_level"],
    )


def _box(known: Mapping[str, Any], config: Config) -> Iterator[Metric]:
    yield _by("part_up", "Whether a part is well, or configured away", "part", _ups(known["parts"]))
    pulse_at = system.pulse_at(config)
    if pulse_at is not None:
        yield _is(
            "worker_pulse_age_seconds", "Since the worker's last sign of life", max(0, time.time() - pulse_at)
        )
    if not is_on_server(config.database_url):
        database = path_of(config.database_url)
        yield _is("database_bytes", "Size of the database file", database.stat().st_size)
        yield _is("wal_bytes", "Written, and not in the database file yet", wal_bytes(database))
    storage = known["storage"]
    yield _is("data_free_bytes", "Free on the disk of DATA_DIR", storage["free"])
    yield _is("data_size_bytes", "Size of the disk of DATA_DIR", storage["total"])
    least = least_free(config.disk_min_free, storage["total"])
    yield _is("data_reserved_bytes", "DISK_MIN_FREE: with less than this free, nothing more is kept", least)
    if storage["used"] is not None:
        yield _is("media_bytes", "Segments, recordings and pictures on disk", storage["used"])
    if known["cpu"] is not None:
        yield _is("cpu_ratio", "Load of all processors of the machine, 0 to 1", known["cpu"])
    yield _is("memory_used_bytes", "Memory in use on the machine", known["memory"]["used"])
    yield _is("memory_size_bytes", "Memory of the machine", known["memory"]["total"])
    if config.last_backup_file.exists():
        taken = config.last_backup_file.stat().st_mtime
        yield _is(
            "backup_last_timestamp_seconds", "When flask backup last succeeded, in seconds since 1970", taken
        )
    if config.tls_cert and (shown := tls.in_use(config)):
        yield _is(
            "certificate_not_after_timestamp_seconds",
            "When the TLS certificate in use expires, in seconds since 1970",
            shown.not_valid_after_utc.timestamp(),
        )
        yield _is(
            "certificate_not_before_timestamp_seconds",
            "When the TLS certificate in use became valid, in seconds since 1970",
            shown.not_valid_before_utc.timestamp(),
        )
    yield InfoMetricFamily(
        "livestream_build", "Versions of the product and what it runs on", known["versions"]
    )


def _ups(parts: dict[str, str]) -> dict[str, int]:
    return {name: int(state in ("ok", "none")) for name, state in parts.items()}


def _is(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"livestream_{name}", help_text, value)


def _total(name: str, help_text: str, value: float) -> Metric:
    """A counter: _total is put behind its name."""
    return CounterMetricFamily(f"livestream_{name}", help_text, value)


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"livestream_{name}", help_text, labels=[label]), values)


def _counted(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(CounterMetricFamily(f"livestream_{name}", help_text, labels=[label]), values)


def _filled(family: Any, values: Mapping[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric([key], value)
    return family
