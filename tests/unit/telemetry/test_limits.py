from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.parser import text_string_to_metric_families

from extproc.limits.told import Told
from extproc.telemetry import Telemetry, merge, names
from extproc.telemetry.limits import STALE_AFTER, LimitFigures
from tests.unit.telemetry.test_metrics import only, scrape


def test_what_limits_and_the_queue_do_is_shown() -> None:
    telemetry = Telemetry()
    limits: Told = telemetry.limits
    limits.decided("user tokens 5/d", "refused")
    limits.decided("user tokens 5/d", "refused")
    limits.waited("high", 0.3)
    limits.dropped("low", "displaced")
    limits.away("lease")
    limits.crossed("team-month", 0.8)
    limits.crossed("team-month", 0.95)
    limits.crossed("runaway", 0)
    telemetry.limits.watch(lambda: {"waiting": {"high": 3}, "behind": {"settlements": 7}})
    seen = scrape(telemetry)
    limit = "user tokens 5/d"
    assert only(seen, "tollgate_limits_decisions_total", limit=limit, outcome="refused") == 2
    assert only(seen, "tollgate_queue_wait_seconds_sum", **{"class": "high"}) == 0.3
    assert only(seen, "tollgate_queue_dropped_total", reason="displaced") == 1
    assert only(seen, "tollgate_limits_away_total", decision="lease") == 1
    assert only(seen, "tollgate_limits_crossed_total", limit="team-month", share="0.8") == 1
    assert only(seen, "tollgate_limits_crossed_total", limit="team-month", share="0.95") == 1
    assert only(seen, "tollgate_limits_crossed_total", limit="runaway", share="runaway") == 1
    assert only(seen, "tollgate_queue_waiting", **{"class": "high"}) == 3
    assert only(seen, "tollgate_limits_behind") == 7
    assert "tollgate_limits_store_away" not in seen


def test_a_million_limits_take_a_bounded_number_of_series() -> None:
    telemetry = Telemetry(cap=10)
    for number in range(5000):
        telemetry.limits.decided(f"limit {number}", "refused")
        telemetry.limits.headroom(f"target {number}", 0.5)
        telemetry.limits.waited(f"class {number}", 0.5)
    seen = scrape(telemetry)
    assert len(seen["tollgate_limits_decisions_total"]) <= 11
    assert len(seen["tollgate_target_headroom"]) <= 11
    assert len(seen["tollgate_queue_wait_seconds_sum"]) <= 11
    decided = sum(value for _, value in seen["tollgate_limits_decisions_total"])
    assert decided == 5000


def test_headroom_that_nobody_used_for_a_minute_is_whole_again() -> None:
    now = 100.0
    telemetry = Telemetry()
    meter = MeterProvider().get_meter("test")
    figures = LimitFigures(
        telemetry._counter,
        telemetry._histogram,
        telemetry._label,
        meter,
        clock=lambda: now,
    )
    figures.headroom("gpt", 0.25)
    figures.headroom("claude", -3)

    def shown() -> dict[object, float]:
        return {
            (one.attributes or {})[names.TARGET]: float(one.value)
            for one in figures._observe_headroom(None)  # type: ignore[arg-type]  # not looked at
        }

    assert shown() == {"gpt": 0.25, "claude": 0.0}
    now += STALE_AFTER
    assert shown() == {"gpt": 1.0, "claude": 1.0}


def test_of_several_workers_the_tightest_headroom_is_shown_and_waiters_are_added_up() -> None:
    texts = []
    for share, waiting in ((0.7, 2), (0.2, 3)):
        telemetry = Telemetry()
        telemetry.limits.headroom("gpt", share)
        telemetry.limits.watch(
            lambda waiting=waiting: {"waiting": {"high": waiting}, "owners": {"alive": 2}}  # type: ignore[misc]
        )
        texts.append(telemetry.expose()[0].decode())
    shown = {
        sample.name: sample.value
        for family in text_string_to_metric_families(merge(texts).decode())
        for sample in family.samples
    }
    assert shown["tollgate_target_headroom"] == 0.2
    assert shown["tollgate_queue_waiting"] == 5
    assert shown["tollgate_limits_processes"] == 2
