from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from extproc.cache.core import Event
from extproc.cache.rules import MOST_KINDS as MOST_OF_A_ROUTE
from extproc.cache.storable import Unfit
from extproc.telemetry import Telemetry, merge, names
from extproc.telemetry.cache import MOST_KINDS, MOST_REASONS
from tests.unit.telemetry.test_metrics import only, scrape


def _busy(figures: Mapping[str, float] | None = None) -> Telemetry:
    telemetry = Telemetry()
    cache = telemetry.cache
    cache.looked("hit", "factual")
    cache.looked("hit", "factual")
    cache.looked("semantic", "default", "served")
    cache.looked("miss", "default", "negation")
    cache.looked("bypass", "", Unfit.TEMPERATURE)
    for _ in range(3):
        cache.saved(333_333_333)
    cache.took(0.0004, "exact")
    cache.took(-1e-9, "exact")
    cache.took(0.02, "wait")
    cache.label(equal=True, audit=True)
    cache.label(equal=False, audit=True)
    cache.label(equal=False, audit=False)
    cache.event(Event.HALTED, "support")
    cache.stored("factual")
    cache.not_stored(Unfit.TRUNCATED)
    cache.failed("embedder")
    cache.embedded(9)
    if figures is not None:
        cache.watch(lambda: figures)
    return telemetry


def test_what_the_cache_does_is_shown() -> None:
    seen = scrape(_busy({"entries": 7, "halted": 1, "bytes": 4096, "following_behind": 0.2}))
    asked = "tollgate_cache_requests_total"
    assert only(seen, asked, outcome="hit", kind="factual") == 2
    assert only(seen, asked, outcome="miss", reason="negation") == 1
    assert only(seen, asked, outcome="bypass", reason="temperature", kind="") == 1
    assert only(seen, "tollgate_cache_saved_usd_total") == 0.999999999
    took = "tollgate_cache_lookup_duration_seconds"
    assert only(seen, f"{took}_count", stage="exact") == 2
    assert only(seen, f"{took}_sum", stage="exact") == 0.0004
    assert only(seen, f"{took}_bucket", stage="wait", le="0.02") == 1
    compared = "tollgate_cache_labels_total"
    assert only(seen, compared, equal="false", audit="true") == 1
    assert only(seen, "tollgate_cache_events_total", event="halted", route="support") == 1
    assert only(seen, "tollgate_cache_stored_total", kind="factual") == 1
    assert only(seen, "tollgate_cache_not_stored_total", reason="truncated") == 1
    assert only(seen, "tollgate_cache_failures_total", part="embedder") == 1
    assert only(seen, "tollgate_cache_embedded_tokens_total") == 9
    assert only(seen, "tollgate_cache_entries") == 7
    assert only(seen, "tollgate_cache_bytes") == 4096
    assert only(seen, "tollgate_cache_halted") == 1
    assert only(seen, "tollgate_cache_following_behind_seconds") == 0.2
    assert "tollgate_cache_index_entries" not in seen, "what is not told is not shown as 0"


def test_a_gateway_without_a_cache_shows_nothing_of_it() -> None:
    assert not [name for name in scrape(Telemetry()) if "cache" in name]


def test_a_cache_that_has_saved_nothing_says_so() -> None:
    telemetry = Telemetry()
    telemetry.cache.watch(dict)
    assert only(scrape(telemetry), "tollgate_cache_saved_usd_total") == 0


def test_kinds_and_reasons_take_a_bounded_number_of_series() -> None:
    telemetry = Telemetry()
    for number in range(5000):
        telemetry.cache.looked("miss", f"kind {number}", "far")
        telemetry.cache.stored(f"kind {number}")
        telemetry.cache.not_stored(f"reason {number}\n")
    seen = scrape(telemetry)
    stored = seen["tollgate_cache_stored_total"]
    assert len(stored) == len(seen["tollgate_cache_requests_total"]) == MOST_KINDS + 1
    assert sum(value for _, value in stored) == 5000
    assert len(seen["tollgate_cache_not_stored_total"]) <= MOST_REASONS + 1
    assert only(seen, "tollgate_cache_stored_total", kind="_OTHER") == 5000 - MOST_KINDS


def test_the_kinds_of_one_route_are_all_told_apart() -> None:
    built_in = 3
    assert MOST_OF_A_ROUTE + built_in <= MOST_KINDS


def test_of_the_store_that_workers_share_nothing_is_counted_twice() -> None:
    figures = {
        "entries": 100,
        "bytes": 5000,
        "evicted": 10,
        "expired": 3,
        "forgotten": 2,
        "index_entries": 90,
        "index_filling": 0,
        "partitions": 4,
        "halted": 1,
        "corrupt": 1,
        "following_behind": 0.25,
        "flights": 3,
    }
    assert set(figures) == set(names.CACHE)
    other = {**figures, "entries": 101, "index_entries": 40, "index_filling": 1}
    texts = [_busy(one).expose()[0].decode() for one in (figures, other)]
    shown = {
        sample.name: sample.value
        for family in text_string_to_metric_families(merge(texts).decode())
        for sample in family.samples
        if not sample.labels
    }
    assert shown["tollgate_cache_entries"] == 101
    assert shown["tollgate_cache_bytes"] == 5000
    for name in ("evicted", "expired", "forgotten"):
        assert shown[f"tollgate_cache_{name}_total"] == figures[name]
    assert shown["tollgate_cache_index_entries"] == 90
    assert shown["tollgate_cache_partitions"] == 4
    assert shown["tollgate_cache_halted"] == 1
    assert shown["tollgate_cache_following_behind_seconds"] == 0.25
    # What each worker has of its own is added up.
    assert shown["tollgate_cache_index_filling"] == 1
    assert shown["tollgate_cache_corrupt_total"] == 2
    assert shown["tollgate_cache_flights"] == 6
    assert shown["tollgate_cache_saved_usd_total"] == 2 * 0.999999999
