from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from extproc.records import Attribution, Cost, RequestRecord, Usage
from extproc.telemetry import Telemetry, names
from extproc.telemetry.metrics import _Peak

Samples = dict[str, list[tuple[dict[str, str], float]]]

RECORD = RequestRecord(
    id="1",
    started=1_790_000_000.0,
    duration=2.0,
    route="support",
    chain="flagship",
    target="gpt",
    provider="openai",
    request_model="flagship",
    response_model="gpt-4o-2024-08-06",
    stream=True,
    usage=Usage(input=120, output=31, cached_input=100, reasoning=5),
    cost=Cost(total=123_456_789),
    ttft=0.5,
    attribution=Attribution(user="alice", feature="search", team="web"),
)


def scrape(telemetry: Telemetry) -> Samples:
    body, kind = telemetry.expose()
    assert kind.startswith("text/plain")
    found: Samples = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def only(samples: Samples, name: str, **labels: str) -> float:
    values = [value for found, value in samples[name] if labels.items() <= found.items()]
    assert len(values) == 1, (name, labels, samples[name])
    return values[0]


def bounds(samples: Samples, name: str) -> list[float]:
    return sorted({float(labels["le"]) for labels, _ in samples[f"{name}_bucket"]})


@pytest.fixture
def seen() -> Samples:
    telemetry = Telemetry()
    telemetry.record(RECORD)
    return scrape(telemetry)


def test_the_convention_is_kept_to_the_letter(seen: Samples) -> None:
    seconds = [0.01 * 2**i for i in range(14)]
    want = {
        "gen_ai_client_token_usage": [4.0**i for i in range(14)],
        "gen_ai_client_operation_duration_seconds": seconds,
        "gen_ai_server_request_duration_seconds": seconds,
        "gen_ai_server_time_to_first_token_seconds": [
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
            *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        ],
        "gen_ai_server_time_per_output_token_seconds": [
            *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
        ],
    }
    for name, upper in want.items():
        assert bounds(seen, name) == pytest.approx([*upper, math.inf])
        assert f"{name}_sum" in seen
        labels = {key for found, _ in seen[f"{name}_count"] for key in found}
        assert {
            "gen_ai_operation_name",
            "gen_ai_provider_name",
            "gen_ai_request_model",
            "gen_ai_response_model",
        } <= labels
    assert {name for name in seen if name.startswith("gen_ai")} == {
        f"{name}_{part}" for name in want for part in ("bucket", "sum", "count")
    }


def test_rare_kinds_of_tokens_take_a_series_only_where_there_are_any(seen: Samples) -> None:
    assert "audio_input" not in {found["kind"] for found, _ in seen["tollgate_tokens_total"]}
    telemetry = Telemetry()
    telemetry.record(
        replace(RECORD, usage=Usage(9, 8, 0, 4, cache_write_1h=3, audio_input=2, audio_output=1))
    )
    seen = scrape(telemetry)
    for kind, tokens in {"cache_write_1h": 3, "audio_input": 2, "audio_output": 1}.items():
        assert only(seen, "tollgate_tokens_total", kind=kind, feature="search") == tokens


def test_operations_are_told_apart_and_only_what_they_bill_is_shown() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, operation="embeddings", usage=Usage(9), ttft=None))
    telemetry.record(replace(RECORD, operation="count_tokens", usage=Usage(), cost=None))
    seen = scrape(telemetry)
    usage = "gen_ai_client_token_usage_sum"
    assert only(seen, usage, gen_ai_operation_name="embeddings") == 9
    assert {labels["gen_ai_operation_name"] for labels, _ in seen[usage]} == {"embeddings"}
    assert only(
        seen, "gen_ai_client_operation_duration_seconds_count", gen_ai_operation_name="count_tokens"
    )
    unknown = seen["tollgate_cost_unknown_total"]
    assert sum(value for _, value in unknown) == 0


def test_figures_agree_with_the_record_to_the_unit(seen: Samples) -> None:
    usage = "gen_ai_client_token_usage_sum"
    assert only(seen, usage, gen_ai_token_type="input") == 120
    assert only(seen, usage, gen_ai_token_type="output") == 31
    tokens = {
        found["kind"]: value
        for found, value in seen["tollgate_tokens_total"]
        if found["estimated"] == "false"
    }
    assert tokens == {
        "input": 120,
        "output": 31,
        "cached_input": 100,
        "cache_write": 0,
        "reasoning": 5,
    }
    assert (
        only(
            seen,
            "tollgate_cost_nanodollars_total",
            route="support",
            target="gpt",
            feature="search",
        )
        == 123_456_789
    )
    assert only(seen, "gen_ai_client_operation_duration_seconds_sum") == 2.0
    assert only(seen, "gen_ai_server_time_to_first_token_seconds_sum") == 0.5
    assert only(seen, "gen_ai_server_time_per_output_token_seconds_sum") == pytest.approx(0.05)
    assert only(seen, "tollgate_requests_total", status="200", route="support") == 1


def test_users_sessions_and_free_labels_are_never_labels(seen: Samples) -> None:
    for rows in seen.values():
        for labels, _ in rows:
            assert "alice" not in labels.values()


def test_estimates_are_not_reported_as_billed() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, usage=Usage(7, 8, estimated=True)))
    seen = scrape(telemetry)
    assert "gen_ai_client_token_usage_sum" not in seen
    assert only(seen, "tollgate_tokens_total", kind="input", estimated="true") == 7


def test_an_unknown_cost_is_counted_and_not_zero() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, cost=None))
    telemetry.record(replace(RECORD, cost=None, usage=None))
    seen = scrape(telemetry)
    assert only(seen, "tollgate_cost_unknown_total", reason="price") == 1
    assert only(seen, "tollgate_cost_unknown_total", reason="usage") == 1


def test_failures_carry_their_type_and_no_token_times() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, error_type="timeout", status=504))
    telemetry.record(replace(RECORD, status=429, usage=None, cost=None))
    seen = scrape(telemetry)
    count = "gen_ai_client_operation_duration_seconds_count"
    assert only(seen, count, error_type="timeout") == 1
    assert only(seen, count, error_type="429") == 1
    assert "gen_ai_server_time_to_first_token_seconds_count" not in seen
    assert not any(value for _, value in seen["tollgate_cost_unknown_total"])


def test_a_request_that_reached_no_provider_is_only_ours() -> None:
    telemetry = Telemetry()
    telemetry.record(
        RequestRecord(id="2", started=0.0, duration=0.1, route="support", status=404, usage=None)
    )
    seen = scrape(telemetry)
    assert only(seen, "tollgate_requests_total", status="404") == 1
    assert not any(name.startswith("gen_ai") for name in seen)


def test_what_happens_on_the_way_is_counted() -> None:
    telemetry = Telemetry()
    telemetry.refusal("claude", "capacity")
    telemetry.attempt("claude", "capacity")
    telemetry.attempt("gpt", "ok")
    telemetry.walked("support")
    telemetry.ignored("header")
    telemetry.note_lost()
    telemetry.started()
    telemetry.started()
    telemetry.finished()
    telemetry.lag(0.25)
    telemetry.record(replace(RECORD, aborted=True))
    seen = scrape(telemetry)
    assert only(seen, "tollgate_refusals_total", target="claude", reason="capacity") == 1
    assert only(seen, "tollgate_attempts_total", target="gpt", outcome="ok") == 1
    assert only(seen, "tollgate_chains_walked_total", route="support") == 1
    assert only(seen, "tollgate_ignored_total", what="header") == 1
    assert only(seen, "tollgate_notes_lost_total") == 1
    assert only(seen, "tollgate_requests_in_flight") == telemetry.in_flight == 1
    assert only(seen, "tollgate_event_loop_lag_seconds") == 0.25
    assert only(seen, "tollgate_requests_aborted_total") == 1
    assert only(seen, "tollgate_telemetry_dropped_total") == 0


def test_every_metric_that_is_exposed_has_its_name_in_the_list() -> None:
    telemetry = Telemetry()
    telemetry.record(RECORD)
    telemetry.refusal("a", "b")
    telemetry.attempt("a", "b")
    telemetry.walked("a")
    telemetry.ignored("a")
    telemetry.identified("key", "ok")
    telemetry.not_allowed("user")
    telemetry.watch_ledger(lambda: dict.fromkeys(names.LEDGER, 1.0))
    telemetry.limits.decided("a", "refused")
    telemetry.limits.crossed("a", 0.8)
    telemetry.limits.away("local")
    telemetry.limits.waited("high", 0.1)
    telemetry.limits.dropped("high", "timeout")
    telemetry.limits.headroom("a", 0.5)
    telemetry.guard.found("PERSON", "redact", "request")
    telemetry.guard.outcome("changed")
    telemetry.guard.took(0.1)
    telemetry.guard.restored()
    telemetry.guard.failed("store")
    telemetry.cache.looked("miss", "factual", "far")
    telemetry.cache.saved(1)
    telemetry.cache.took(0.1, "embed")
    telemetry.cache.label(equal=True, audit=True)
    telemetry.cache.event("halted", "a")
    telemetry.cache.stored("factual")
    telemetry.cache.not_stored("truncated")
    telemetry.cache.failed("store")
    telemetry.cache.embedded(1)
    telemetry.cache.watch(lambda: dict.fromkeys(names.CACHE, 1.0))
    told: dict[str, dict[str, float]] = {"waiting": {"high": 1.0}}
    for group, name in names.LIMITS:
        told.setdefault(group, {})[name] = 1.0
    telemetry.limits.watch(lambda: told)
    families = {
        family.name for family in text_string_to_metric_families(telemetry.expose()[0].decode())
    }
    units = {"s": "_seconds", "By": "_bytes"}
    listed = {
        (shown := one.name.replace(".", "_"))
        + ("" if shown.endswith(suffix := units.get(one.unit, "")) else suffix)
        for one in names.ALL
    }
    assert families == listed | {"target_info"}


def test_labels_from_outside_are_bounded() -> None:
    telemetry = Telemetry({names.FEATURE: ["search"]}, cap=10, model_cap=4)
    for number in range(100):
        telemetry.record(
            replace(
                RECORD,
                request_model=f"model-{number}",
                attribution=Attribution(feature=f"feature-{number}"),
            )
        )
    telemetry.record(RECORD)
    seen = scrape(telemetry)
    models = {found["gen_ai_request_model"] for found, _ in seen["gen_ai_client_token_usage_sum"]}
    assert len(models) == 5
    assert names.OTHER in models
    features = {found["feature"] for found, _ in seen["tollgate_cost_nanodollars_total"]}
    assert len(features) == 12
    assert {"search", names.OTHER} <= features
    total = sum(value for _, value in seen["tollgate_cost_nanodollars_total"])
    assert total == 101 * 123_456_789


def test_no_name_can_break_the_page() -> None:
    telemetry = Telemetry()
    for name in ("\ud800", "a\u2028b", 'quote"\\', "line\nbreak", "x" * 1000, "\0"):
        telemetry.record(replace(RECORD, request_model=name))
    models = {
        found["gen_ai_request_model"]
        for found, _ in scrape(telemetry)["gen_ai_client_token_usage_sum"]
    }
    assert models == {"_", "a_b", 'quote"\\', "line_break", "x" * 128}


def test_a_flood_of_names_does_not_pile_up() -> None:
    telemetry = Telemetry()
    for number in range(10_000):
        telemetry.record(replace(RECORD, request_model=f"model-{number}", status=404, target=None))
    assert len(telemetry._bundles) <= 4096
    assert only(scrape(telemetry), "tollgate_requests_total", status="404") == 10_000


def test_a_record_that_cannot_be_counted_is_dropped_and_counted() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, duration="long"))
    assert only(scrape(telemetry), "tollgate_telemetry_dropped_total") == 1


def test_clocks_that_go_backwards_do_no_harm() -> None:
    telemetry = Telemetry()
    telemetry.record(replace(RECORD, duration=-1.0, ttft=-0.1))
    assert only(scrape(telemetry), "gen_ai_client_operation_duration_seconds_sum") == 0


def test_a_peak_is_seen_for_one_to_two_windows() -> None:
    peak = _Peak()
    peak.note(0.5, 100.0)
    peak.note(0.1, 110.0)
    assert peak.read(114.0) == 0.5
    assert peak.read(116.0) == 0.5
    assert peak.read(140.0) == 0.0


def test_two_workers_in_one_process_do_not_share() -> None:
    first, second = Telemetry(), Telemetry()
    first.walked("a")
    assert "tollgate_chains_walked_total" not in scrape(second)


def test_a_shadow_is_a_cost_and_no_request() -> None:
    telemetry = Telemetry()
    telemetry.record(RECORD)
    paid = replace(
        RECORD,
        kind="shadow",
        operation="embeddings",
        target=None,
        request_model="text-embedding-3-small",
        response_model="text-embedding-3-small",
        usage=Usage(12),
        cost=Cost(240),
        ttft=None,
    )
    telemetry.record(paid)
    telemetry.record(replace(paid, provider=None, cost=None))
    telemetry.record(replace(paid, usage=None, cost=None))
    seen = scrape(telemetry)
    assert only(seen, "tollgate_requests_total") == 1
    assert only(seen, "gen_ai_client_operation_duration_seconds_count") == 1
    assert only(seen, "tollgate_cost_nanodollars_total", target="", feature="search") == 240
    assert only(seen, "tollgate_tokens_total", target="", kind="input") == 24
    assert only(seen, "tollgate_cost_unknown_total", target="", reason="price") == 1
    assert only(seen, "tollgate_cost_unknown_total", target="", reason="usage") == 1
    told = "gen_ai_client_token_usage_sum"
    assert only(seen, told, gen_ai_operation_name="embeddings") == 12
    assert only(seen, "tollgate_telemetry_dropped_total") == 0
