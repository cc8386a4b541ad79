"""What is counted is told as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from service.telemetry import Telemetry

DURATION = "metergate_http_request_duration_seconds"


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(telemetry.text().decode())
        for sample in family.samples
    }


def test_a_histogram_counts_what_is_at_or_below_each_bound():
    telemetry = Telemetry()
    for seconds in (0.0, 0.0005, 0.0006, 0.5, 11.0):
        telemetry.request("POST", "/x", 200, seconds)
    told = samples(telemetry)
    of_route = ("POST", "/x")
    expected = {"0.0005": 2, "0.001": 3, "0.25": 3, "0.5": 4, "10.0": 4, "+Inf": 5}
    assert {bound: told[f"{DURATION}_bucket", (bound, *of_route)] for bound in expected} == expected
    assert told[f"{DURATION}_count", of_route] == 5
    assert told[f"{DURATION}_sum", of_route] == 11.5011
    assert told["metergate_http_requests_total", ("POST", "/x", "200")] == 5


def test_counters_and_gauges_are_told_with_their_labels():
    telemetry = Telemetry()
    telemetry.decided("denied", "limit_reached", degraded=True)
    telemetry.decided("denied", "limit_reached", degraded=True)
    telemetry.count("metergate_events_total", "accepted", amount=7)
    telemetry.set("metergate_up", "redis", value=0)
    telemetry.set("metergate_up", "redis", value=1)
    telemetry.observe(DURATION, "GET", "/y", value=0.1)
    told = samples(telemetry)
    assert told["metergate_decisions_total", ("1", "denied", "limit_reached")] == 2
    assert told["metergate_events_total", ("accepted",)] == 7
    assert told["metergate_up", ("redis",)] == 1
    assert told[f"{DURATION}_count", ("GET", "/y")] == 1
    assert samples(Telemetry()) == {("metergate_decision_log_dropped_total", ()): 0}


def test_what_is_measured_is_explained():
    text = Telemetry().text().decode()
    assert "# HELP metergate_decisions_total Decisions given;" in text
    assert f"# TYPE {DURATION} histogram" in text
