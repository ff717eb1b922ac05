"""What Prometheus asks for: what this process did, and what the database holds at the moment of the question."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from config import Config
from db import path_of, wal_bytes
from live import system
from media import tls

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "livestream_http_requests_total",
    "Requests answered, by route",
    ["method", "route", "status"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "livestream_http_request_duration_seconds", "Time to answer", ["method", "route"], registry=REGISTRY
)


def count(method: str, route: str, status: int, seconds: float) -> None:
    """One request. `route` is the rule, never the path, and a method one that there is: labels that whoever asks
    may choose would grow without end."""
    method = method if method in METHODS else "other"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(seconds)


def exposition(config: Config) -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(REGISTRY) + generate_latest(_Now(config))


class _Now:
    """What is true now; quacks like a registry."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def collect(self) -> Iterator[Metric]:
        known = system.statistics(self.config)
        yield _gauge("channels", "Channels, by status", "status", known["channels"])
        yield _gauge("deliveries", "Webhook deliveries, by status", "status", known["deliveries"])
        yield _gauge("part_up", "Whether a part is well", "part", _ups(known["parts"]))
        yield GaugeMetricFamily("livestream_sessions_open", "Publishers now", known["sessions"])
        yield GaugeMetricFamily("livestream_ingest_bits_per_second", "From publishers", known["bitrate_in"])
        if known["viewers"] is not None:
            yield GaugeMetricFamily("livestream_viewers", "Viewers within the last 30 s", known["viewers"])
            yield GaugeMetricFamily("livestream_playback_bits_per_second", "To viewers", known["bitrate_out"])
        wal = wal_bytes(path_of(self.config.database_url))
        yield GaugeMetricFamily("livestream_wal_bytes", "Written, not yet in the database file", wal)
        yield GaugeMetricFamily("livestream_data_free_bytes", "Free in DATA_DIR", known["storage"]["free"])
        if known["storage"]["used"] is not None:
            yield GaugeMetricFamily("livestream_media_bytes", "Media on disk", known["storage"]["used"])
        if self.config.tls_cert and (shown := tls.in_use(self.config)):
            name, ends = "livestream_certificate_not_after_timestamp_seconds", shown.not_valid_after_utc
            yield GaugeMetricFamily(name, "When the certificate in use expires", ends.timestamp())
        yield InfoMetricFamily("livestream_build", "Versions", known["versions"])


def _ups(parts: dict[str, str]) -> dict[str, int]:
    return {name: int(state in ("ok", "none")) for name, state in parts.items()}


def _gauge(name: str, help_text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"livestream_{name}", help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
