"""What this process measures: the names of all metrics in one table, and the counters behind them.

Labels are of bounded number and say nothing about people: never a tenant, a raw path, or free text.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final, Literal

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.utils import floatToGoString

_REQUESTS: Final = "metergate_http_requests_total"
_DURATION: Final = "metergate_http_request_duration_seconds"
_DECISIONS: Final = "metergate_decisions_total"
_FAMILIES: Final[dict[str, Callable[..., Any]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}

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
        name="metergate_decision_log_dropped_total",
        kind="counter",
        help="Decisions that the decision log had no room for.",
    ),
    Metric(
        name="metergate_events_total",
        kind="counter",
        help="Usage events, by what became of them: accepted, duplicate, rejected, retry.",
        labels=("status",),
    ),
    Metric(
        name="metergate_drift_open",
        kind="gauge",
        help="Differences in the books that two looks have found, by class. `metergate books list` has them.",
        labels=("class",),
    ),
    Metric(
        name="metergate_books_age_seconds",
        kind="gauge",
        help="How long ago all books had been gone through; not there before the first time.",
    ),
    Metric(
        name="metergate_charges",
        kind="gauge",
        help="Invoices that a payment provider collects, by state; `stopped` ones wait for a person.",
        labels=("state",),
    ),
    Metric(
        name="metergate_reconcile_open",
        kind="gauge",
        help="Differences to the payment provider that two looks have found, by class.",
        labels=("class",),
    ),
    Metric(
        name="metergate_reconcile_risk_minor",
        kind="gauge",
        help="Money of these differences, in minor units of its currency.",
        labels=("currency",),
    ),
    Metric(
        name="metergate_reconcile_oldest_seconds",
        kind="gauge",
        help="How long the oldest of these differences has been known; 0 if there is none.",
    ),
    Metric(
        name="metergate_reconcile_age_seconds",
        kind="gauge",
        help="How long ago the last look was, by its scope; not there before the first one.",
        labels=("scope",),
    ),
    Metric(
        name="metergate_flush_lag_seconds",
        kind="gauge",
        help="How long ago all that was acknowledged was in Postgres; not there before a worker has run.",
    ),
    Metric(
        name="metergate_journal_entries",
        kind="gauge",
        help="Entries of the journal in Redis, those among them that stay for a while after their commit.",
    ),
    Metric(
        name="metergate_inbox_events",
        kind="gauge",
        help="Events that wait in Postgres to be counted; past 100,000 nobody counts.",
    ),
    Metric(
        name="metergate_redis_used_bytes",
        kind="gauge",
        help="Memory that Redis uses; of a cluster the node that is fullest.",
    ),
    Metric(
        name="metergate_redis_limit_bytes",
        kind="gauge",
        help="Memory that Redis may use; usage is turned away before it does.",
    ),
    Metric(
        name="metergate_redis_node_up",
        kind="gauge",
        help="Of a Redis Cluster: 1 when a node answered when it was asked last, else 0.",
        labels=("node",),
    ),
    Metric(
        name="metergate_redis_node_shards",
        kind="gauge",
        help="Of a Redis Cluster: how many of the 256 shards a node has.",
        labels=("node",),
    ),
    Metric(
        name="metergate_redis_node_used_bytes",
        kind="gauge",
        help="Of a Redis Cluster: memory that a node uses.",
        labels=("node",),
    ),
    Metric(
        name="metergate_redis_node_limit_bytes",
        kind="gauge",
        help="Of a Redis Cluster: memory that a node may use.",
        labels=("node",),
    ),
    Metric(
        name="metergate_incidents_open",
        kind="gauge",
        help="Incidents that nobody has closed, by kind: usage was lost, damaged or refused.",
        labels=("kind",),
    ),
    Metric(
        name="metergate_up",
        kind="gauge",
        help="1 when the last readiness probe of a part succeeded, else 0.",
        labels=("part",),
    ),
    Metric(name="metergate_info", kind="gauge", help="1, with what runs as labels.", labels=("version",)),
)


class _Spread:
    """Measured values: how many lie between one bound of a histogram and the next, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_FAST) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(_FAST, value)] += 1
        self.total += value


class Telemetry:
    """The numbers of one application: two in one process do not meet.

    Counting is a look-up and an addition, since every request does it several times; Prometheus' families are
    made of the numbers when somebody asks. One thread counts and tells.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in TABLE}
        self._spreads: dict[str, dict[tuple[str, ...], _Spread]] = {metric.name: {} for metric in TABLE}
        self._requests: dict[tuple[str, str, int], tuple[tuple[str, ...], _Spread]] = {}
        self._decisions: dict[tuple[str, str, bool], tuple[str, ...]] = {}
        for metric in TABLE:
            if not metric.labels and metric.kind == "counter":
                self._numbers[metric.name][()] = 0

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Adds to a counter of the table; labels in the table's order."""
        numbers = self._numbers[name]
        numbers[labels] = numbers.get(labels, 0) + amount

    def set(self, name: str, *labels: str, value: float) -> None:
        """Sets a gauge of the table."""
        self._numbers[name][labels] = value

    def forget(self, name: str) -> None:
        """Lets go of all that a gauge says: what is set anew is all there is."""
        self._numbers[name].clear()

    def retell(self, name: str, values: Mapping[str, float]) -> None:
        """Sets a gauge of the table anew for these labels alone: what is not there any more is not told."""
        self._numbers[name] = {(label,): value for label, value in values.items()}

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Puts a measured value into a histogram of the table."""
        self._spreads[name].setdefault(labels, _Spread()).add(value)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        told = self._requests.get((method, route, status))
        if told is None:
            spread = self._spreads[_DURATION].setdefault((method, route), _Spread())
            told = self._requests[method, route, status] = ((method, route, str(status)), spread)
        labels, spread = told
        numbers = self._numbers[_REQUESTS]
        numbers[labels] = numbers.get(labels, 0) + 1
        spread.add(seconds)

    def decided(self, outcome: str, reason: str, *, degraded: bool) -> None:
        """One decision was given."""
        labels = self._decisions.get((outcome, reason, degraded))
        if labels is None:
            labels = (outcome, reason, str(int(degraded)))
            self._decisions[outcome, reason, degraded] = labels
        numbers = self._numbers[_DECISIONS]
        numbers[labels] = numbers.get(labels, 0) + 1

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[MetricFamily]:
        """The families of the table, as a registry asks for them."""
        for metric in TABLE:
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, number in self._numbers[metric.name].items():
                family.add_metric(labels, number)
            for labels, spread in self._spreads[metric.name].items():
                bounds = zip((*map(floatToGoString, _FAST), "+Inf"), accumulate(spread.counts), strict=True)
                family.add_metric(labels, list(bounds), spread.total)
            yield family
