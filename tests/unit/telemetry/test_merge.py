from prometheus_client.parser import text_string_to_metric_families

from extproc.records import Cost, RequestRecord, Usage
from extproc.telemetry import Telemetry, merge


def worker(requests: int, lag: float, target: str = "gpt") -> str:
    telemetry = Telemetry()
    for number in range(requests):
        telemetry.started()
        telemetry.record(
            RequestRecord(
                id=str(number),
                started=0.0,
                duration=0.5,
                route="support",
                target=target,
                provider="openai",
                usage=Usage(10, 3),
                cost=Cost(1_000_000_007),
            )
        )
    telemetry.lag(lag)
    return telemetry.expose()[0].decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name != "target_info"
    }


def value(text: str, name: str) -> float:
    (found,) = [one for key, one in samples(text).items() if key[0] == name]
    return found


def test_workers_are_added_up_and_the_worst_lag_stays() -> None:
    text = merge([worker(2, 0.5), worker(3, 0.1)]).decode()
    assert value(text, "tollgate_cost_nanodollars_total") == 5 * 1_000_000_007
    assert value(text, "tollgate_requests_in_flight") == 5
    assert value(text, "tollgate_event_loop_lag_seconds") == 0.5
    assert value(text, "gen_ai_client_operation_duration_seconds_sum") == 2.5
    assert text.count("\ntarget_info") == 1


def test_a_histogram_stays_one() -> None:
    text = merge([worker(2, 0), worker(3, 0)]).decode()
    (family,) = [
        one
        for one in text_string_to_metric_families(text)
        if one.name == "gen_ai_server_request_duration_seconds"
    ]
    assert family.type == "histogram"
    counts = [one.value for one in family.samples if one.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == 5


def test_one_worker_alone_is_shown_as_it_is() -> None:
    text = worker(2, 0.25)
    assert samples(merge([text]).decode()) == samples(text)


def test_series_of_one_worker_only_are_kept() -> None:
    text = merge([worker(1, 0, "gpt"), worker(1, 0, "claude")]).decode()
    targets = {
        sample.labels["target"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tollgate_requests_total"
    }
    assert targets == {"gpt", "claude"}


def test_a_sick_worker_does_not_blind_the_others() -> None:
    text = merge(["what{", "", "# \n", "# HELP a\na{ b", worker(2, 0)]).decode()
    assert value(text, "tollgate_requests_in_flight") == 2


def test_no_worker_is_an_empty_page() -> None:
    assert merge([]) == b""
