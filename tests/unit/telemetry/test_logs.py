import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.telemetry import JSONFormatter, configure, redact
from extproc.telemetry.logs import LONGEST

FORMATTER = JSONFormatter()


def line(message: object, *args: object, **extra: object) -> dict[str, Any]:
    record = logging.LogRecord("tollgate.x", logging.WARNING, __file__, 1, message, args, None)
    vars(record).update(extra)
    text = FORMATTER.format(record)
    assert "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = before
    logger.setLevel(level)


def test_a_line_says_when_who_what_and_whatever_else() -> None:
    found = line("level %s refused", "gpt", target="gpt", status=503, wait=1.5, stream=True)
    assert datetime.fromisoformat(found.pop("ts")).utcoffset() is not None
    assert found == {
        "level": "warning",
        "logger": "tollgate.x",
        "message": "level gpt refused",
        "target": "gpt",
        "status": 503,
        "wait": 1.5,
        "stream": True,
    }


def test_extra_fields_do_not_replace_the_standard_ones() -> None:
    assert line("real", level="fake", logger="fake")["level"] == "warning"


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdef123456",
        '{"authorization": "Bearer abcdef123456"}',
        "bearer abc.def-ghi_jkl=",
        "Basic dXNlcjpwYXNz",
        "sk-proj-abcdefghij_klmnop",
        "sk-ant-api03-abcdefghijkl",
        "tg-0123456789abcdef",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz012345",
        "x-api-key: abcdef123456",
        '{"x-api-key": "abcdef123456"}',
        "api_key=abcdef123456",
        "x-goog-api-key=abcdef123456&alt=sse",
        "redis://host?api-key=abcdef123456",
    ],
)
def test_keys_never_get_into_a_log(secret: str) -> None:
    found = json.dumps([line(f"upstream said {secret} to us"), line("x", detail=[{"a": secret}])])
    for piece in (
        "abcdef",
        "abc.def",
        "dXNlcjpwYXNz",
        "0123456789",
    ):
        assert piece not in found
    assert "[redacted]" in found
    assert "upstream said" in found


def test_fields_named_like_keys_are_hidden_whatever_they_hold() -> None:
    found = line(
        "x",
        authorization="abc",
        api_key="abc",
        headers={"x-api-key": "abc", "cookie": "abc", "accept": "abc"},
        admin_token="abc",
    )
    assert found["authorization"] == found["api_key"] == found["admin_token"] == "[redacted]"
    assert found["headers"] == {
        "x-api-key": "[redacted]",
        "cookie": "[redacted]",
        "accept": "abc",
    }


def test_figures_about_tokens_are_not_secrets() -> None:
    found = line("x", input_tokens=12, time_to_first_token=0.5)
    assert (found["input_tokens"], found["time_to_first_token"]) == (12, 0.5)
    assert redact("task-force of sketches, tg-1") == "task-force of sketches, tg-1"


def test_exceptions_are_told_without_their_keys() -> None:
    error = RuntimeError("401 for Bearer abcdef123456")
    blame = (type(error), error, None)
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), blame)
    text = FORMATTER.format(record)
    assert "RuntimeError" in json.loads(text)["exception"]
    assert "abcdef" not in text


def test_a_whole_prompt_by_mistake_is_cut() -> None:
    assert len(line("x" * 100_000)["message"]) == LONGEST + 1


@given(st.text(), st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text() | st.floats()))
def test_any_text_makes_one_valid_line(message: str, extra: dict[str, object]) -> None:
    found = line("%s", message, **extra)
    assert set(extra) <= set(found)


def test_arguments_that_do_not_fit_do_not_lose_the_line() -> None:
    assert line("%d levels", "two")["message"] == "%d levels"


def test_objects_json_does_not_know_are_written_somehow() -> None:
    assert "object" in line("x", thing=object())["thing"]
    assert line("x", many={1, 2}.union({3}))["many"] == [1, 2, 3]


def test_configure_sends_everything_as_json(root: logging.Logger) -> None:
    out = io.StringIO()
    configure("warning", out)
    logging.getLogger("a.b").info("quiet")
    logging.getLogger("a.b").error("loud", extra={"status": 500})
    (text,) = out.getvalue().splitlines()
    assert json.loads(text)["status"] == 500
    assert len(root.handlers) == 1


def test_an_unknown_level_is_refused(root: logging.Logger) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure("loud", io.StringIO())
    assert root.handlers
