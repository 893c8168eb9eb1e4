"""What was found, as records and the access log tell it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from extproc.accounting import guard_counts, guard_facts, guard_observed
from extproc.accounting.guarded import LONGEST_FACT, MOST_COUNTS, OTHER
from extproc.records import GuardCount, RequestRecord

_FOUND = {
    ("PERSON", "redact", "request"): 1,
    ("EMAIL_ADDRESS", "redact", "request"): 2,
    ("EMAIL_ADDRESS", "redact", "response"): 3,
    ("URL", "ignore", "request"): 9,
    ("CUSTOM:project", "block", "request"): 1,
}


def test_a_record_holds_the_most_frequent_first_and_nothing_that_was_ignored() -> None:
    assert guard_counts(_FOUND) == (
        GuardCount("EMAIL_ADDRESS", "redact", "response", 3),
        GuardCount("EMAIL_ADDRESS", "redact", "request", 2),
        GuardCount("CUSTOM:project", "block", "request", 1),
        GuardCount("PERSON", "redact", "request", 1),
    )
    assert all(one.observed for one in guard_counts(_FOUND, observed=True))
    assert guard_counts({}) == ()


def test_records_from_before_there_was_a_guard_can_be_read() -> None:
    record = RequestRecord(id="r", started=0.0, duration=0.0, route="r", guard=guard_counts(_FOUND))
    text = msgspec.json.encode(record)
    assert msgspec.json.decode(text, type=RequestRecord) == record
    old = msgspec.to_builtins(record)
    del old["guard"]
    assert msgspec.convert(old, RequestRecord).guard == ()


def test_the_access_log_has_one_fact_both_directions_together() -> None:
    assert guard_facts(guard_counts(_FOUND)) == {
        "guard": "EMAIL_ADDRESS:redact:5,CUSTOM:project:block:1,PERSON:redact:1"
    }
    one = guard_counts({("PERSON", "mask", "request"): 4}, observed=True)
    assert guard_facts(one) == {"guard": "PERSON:would_mask:4"}
    assert guard_facts(()) == {}


def test_what_would_have_been_done_is_told_by_outcome_and_blocking_alone() -> None:
    blocked = guard_observed(guard_counts(_FOUND, observed=True))
    assert [(one.outcome, one.detail) for one in blocked] == [("blocked", "CUSTOM:project x1")]
    rest = {sort: count for sort, count in _FOUND.items() if sort[1] != "block"}
    rest["IP_ADDRESS", "flag", "request"] = 1
    assert [
        (one.capability, one.outcome, one.detail)
        for one in guard_observed(guard_counts(rest, observed=True))
    ] == [
        ("guard", "redacted", "EMAIL_ADDRESS x5, PERSON x1"),
        ("guard", "flagged", "IP_ADDRESS x1"),
    ]
    assert guard_observed(guard_counts(_FOUND)) == ()


_SORT = st.tuples(
    st.text(max_size=80),
    st.sampled_from(["ignore", "flag", "redact", "mask", "hash", "block"]),
    st.sampled_from(["request", "response"]),
)


@given(st.dictionaries(_SORT, st.integers(0, 10**9), max_size=80), st.booleans())
def test_whatever_types_are_called_nothing_is_lost_and_all_is_bounded(
    found: dict[tuple[str, str, str], int], observed: bool
) -> None:
    counts = guard_counts(found, observed=observed)
    acted = sum(count for (_, action, _), count in found.items() if action != "ignore")
    assert sum(one.count for one in counts) == acted
    assert len(counts) <= MOST_COUNTS
    assert len({(one.type, one.action, one.direction) for one in counts}) == len(counts)
    text = guard_facts(counts).get("guard", "")
    assert len(text) <= LONGEST_FACT
    assert text.isascii()
    assert text.isprintable()
    for entry in text.split(",") if text else ():
        if not entry.startswith("+"):
            _, action, number = entry.rsplit(":", 2)
            assert action.startswith("would_") is observed
            assert int(number) > 0
    assert bool(text) is bool(counts)


def test_too_many_types_are_added_up_and_the_log_says_how_many_it_has_no_room_for() -> None:
    found = {(f"CUSTOM:{n:050}", "redact", "request"): 1000 - n for n in range(100)}
    counts = guard_counts(found)
    (rest,) = [one for one in counts if one.type == OTHER]
    assert rest.count > 900 * 70
    text = guard_facts(counts)["guard"]
    shown = text.split(",")
    assert shown[-1] == f"+{len(counts) - len(shown) + 1}"
