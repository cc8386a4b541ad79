"""What this process measures: the names of all metrics in one table, and the counters behind them.

Labels are of bounded number and say nothing about people: never a tenant, a raw path, or free text.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4"

_FAST: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. Units are base units: seconds, bytes; a counter's name ends in `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


TABLE: Final = (
    Metric(
        name="metergate_http_requests_total",
        kind="counter",
        help="Requests answered, by route template.",
        labels=("method", "route", "status"),
    ),
    Metric(
        name="metergate_http_request_duration_seconds",
        kind="histogram",
        help="From the first byte of a request to the start of its answer.",
        labels=("method", "route"),
    ),
    Metric(
        name="metergate_problems_total",
        kind="counter",
        help="Error answers, by the page in docs/problems that explains them.",
        labels=("problem",),
    ),
    Metric(
        name="metergate_decisions_total",
        kind="counter",
        help="Decisions given; `degraded` is 1 where a part was away.",
        labels=("outcome", "reason", "degraded"),
    ),
    Metric(
        name="metergate_events_total",
        kind="counter",
        help="Usage events, by what became of them: accepted, duplicate, rejected, retry.",
        labels=("status",),
    ),
    Metric(
        name="metergate_up",
        kind="gauge",
        help="1 when the last readiness probe of a part succeeded, else 0.",
        labels=("part",),
    ),
    Metric(name="metergate_info", kind="gauge", help="1, with what runs as labels.", labels=("version",)),
)


class Telemetry:
    """The counters of one application, in a registry of its own: two in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._requests: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}
        self._decisions: dict[tuple[str, str, bool], Callable[[], None]] = {}
        for metric in TABLE:
            self._add(metric)

    def _add(self, metric: Metric) -> None:
        name, text, labels = metric.name, metric.help, metric.labels
        if metric.kind == "counter":
            self._counters[name] = Counter(name, text, labels, registry=self.registry)
        elif metric.kind == "gauge":
            self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
        else:
            self._histograms[name] = Histogram(name, text, labels, registry=self.registry, buckets=_FAST)

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Adds to a counter of the table; labels in the table's order."""
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def set(self, name: str, *labels: str, value: float) -> None:
        """Sets a gauge of the table."""
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Puts a measured value into a histogram of the table."""
        histogram = self._histograms[name]
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        told = self._requests.get((method, route, status))
        if told is None:
            counted = self._counters["metergate_http_requests_total"].labels(method, route, str(status))
            timed = self._histograms["metergate_http_request_duration_seconds"].labels(method, route)
            told = self._requests[method, route, status] = (counted.inc, timed.observe)
        told[0]()
        told[1](seconds)

    def decided(self, outcome: str, reason: str, *, degraded: bool) -> None:
        """One decision was given."""
        told = self._decisions.get((outcome, reason, degraded))
        if told is None:
            counter = self._counters["metergate_decisions_total"].labels(outcome, reason, str(int(degraded)))
            told = self._decisions[outcome, reason, degraded] = counter.inc
        told()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
