from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from extproc.telemetry import Telemetry, merge
from extproc.telemetry.metrics import TYPE_CAP
from tests.unit.telemetry.test_metrics import only, scrape


def _busy() -> Telemetry:
    telemetry = Telemetry()
    guard = telemetry.guard
    guard.found("EMAIL_ADDRESS", "redact", "request", 2)
    guard.found("EMAIL_ADDRESS", "redact", "request", 1)
    guard.found("EMAIL_ADDRESS", "redact", "request", 5, observed=True)
    guard.found("CUSTOM:project", "flag", "response")
    guard.outcome("changed")
    guard.took(0.0004)
    guard.took(-1e-9)
    guard.restored(3)
    guard.failed("detector")
    return telemetry


def test_what_the_guard_finds_and_does_is_shown() -> None:
    seen = scrape(_busy())
    found = "tollgate_guard_findings_total"
    sort = {"type": "EMAIL_ADDRESS", "action": "redact", "direction": "request"}
    assert only(seen, found, mode="enforce", **sort) == 3
    assert only(seen, found, mode="observe", **sort) == 5
    assert only(seen, found, type="CUSTOM:project", direction="response") == 1
    assert only(seen, "tollgate_guard_requests_total", outcome="changed") == 1
    assert only(seen, "tollgate_guard_restored_total") == 3
    assert only(seen, "tollgate_guard_failures_total", part="detector") == 1
    assert only(seen, "tollgate_guard_duration_seconds_count") == 2
    assert only(seen, "tollgate_guard_duration_seconds_sum") == 0.0004
    assert only(seen, "tollgate_guard_duration_seconds_bucket", le="0.0001") == 1


def test_a_gateway_without_a_guard_shows_nothing_of_it() -> None:
    assert not [name for name in scrape(Telemetry()) if "guard" in name]


def test_types_that_an_endpoint_makes_up_take_a_bounded_number_of_series() -> None:
    telemetry = Telemetry()
    for number in range(5000):
        telemetry.guard.found(f"TYPE_{number}\n", "redact", "request")
    shown = scrape(telemetry)["tollgate_guard_findings_total"]
    assert len(shown) == TYPE_CAP + 1
    assert sum(value for _, value in shown) == 5000
    assert {labels["type"] for labels, _ in shown} >= {"_OTHER", "TYPE_0_"}


def test_several_workers_are_added_up() -> None:
    text = merge([_busy().expose()[0].decode(), _busy().expose()[0].decode()]).decode()
    shown = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    sums = {name: value for name, labels, value in shown if not labels}
    assert sums["tollgate_guard_restored_total"] == 6
    assert sums["tollgate_guard_duration_seconds_count"] == 4
    found = [value for name, _, value in shown if name == "tollgate_guard_findings_total"]
    assert sorted(found) == [2, 6, 10]
