from __future__ import annotations

import pytest

from extproc.policy import HostPolicy, Parsed, PolicyError, RoutePolicy, TargetPolicy, parse

ROUTE = """filter_metadata { key: "tollgate" value {
  fields { key: "route" value { string_value: "r" } }
  fields { key: "chain" value { string_value: "c" } } } }
filter_metadata { key: "istio" value { fields { key: "x" value { bool_value: true } } } }"""


def field(name: str, value: str) -> str:
    return f'fields {{ key: "{name}" value {{ {value} }} }}'


def text(*fields: str) -> str:
    return f'filter_metadata {{ key: "tollgate" value {{ {" ".join(fields)} }} }}'


def test_policy_is_read_from_envoys_text_and_kept() -> None:
    parsed = Parsed()
    policy = parsed.of(RoutePolicy, ROUTE)
    assert (policy.route, policy.chain) == ("r", "c")
    assert parsed.of(RoutePolicy, ROUTE) is policy


def test_a_fraction_comes_as_text_and_is_a_number() -> None:
    # Envoy's YAML reader makes a string of `timeout: 1.5` in metadata.
    strings = [
        field(name, f'string_value: "{value}"')
        for name, value in {
            "provider": "p",
            "system": "s",
            "dialect": "openai",
            "model": "m",
        }.items()
    ]
    policy = parse(TargetPolicy, text(*strings, field("timeout", 'string_value: "1.5"')))
    assert policy.timeout == 1.5


def test_numbers_of_a_struct_are_integers_where_they_are_whole() -> None:
    weights = 'struct_value { fields { key: "a" value { number_value: 3 } } }'
    chains = f"struct_value {{ {field('main', f'list_value {{ values {{ {weights} }} }}')} }}"
    policy = parse(HostPolicy, text(field("chains", chains)))
    assert policy.chains == {"main": [{"a": 3}]}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        "not text format {",
        'filter_metadata { key: "other" value { } }',
        text(field("route", 'string_value: "r"')),
        text(field("route", 'string_value: "r"'), field("chian", 'string_value: "c"')),
    ],
)
def test_what_is_no_policy_is_said(bad: str | None) -> None:
    with pytest.raises(PolicyError):
        Parsed().of(RoutePolicy, bad)
