"""Every recorded exchange with a real provider, through every client format."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from extproc.dialects import BadAnswerError, Counted, Passed, load
from extproc.dialects.errors import client_error
from extproc.errors import ClientError
from tests.unit.dialects.level import FORMATS, PLAIN, Level
from tests.unit.dialects.recorded import recordings, told
from tests.unit.dialects.recorded.expected import Said, expected
from tests.unit.dialects.recorded.providers import PROVIDERS, validate
from tests.unit.dialects.recorded.recordings import Exchange
from tests.unit.dialects.samples import run

EXCHANGES = recordings.load()
DIALECTS = load()
for door in (*DIALECTS.values(), *FORMATS.values()):
    # The same ids and times for every reading.
    vars(door).update(mint=lambda: "minted", clock=lambda: 1_700_000_000.0)
CHATS = ("chat", "responses", "messages")
"""Client formats that any recorded conversation can be told in."""
CONVERSATIONS = ("chat", "generate", "converse", "chat_v2", "messages")
"""What can be asked of a provider on behalf of any of them. (What the responses API answered was
asked by a client of that API, and goes to no other.)"""

pytestmark = pytest.mark.skipif(not EXCHANGES, reason="no recordings (TOLLGATE_CASES)")


def formats_of(one: Exchange) -> tuple[str, ...]:
    return CHATS if one.asked in CONVERSATIONS else (one.asked,)


def cases(*, streamed: bool) -> list[Any]:
    return [
        pytest.param(one, format_, id=f"{one.name}-{format_}")
        for one in EXCHANGES
        if one.status < 400 and one.streamed is streamed
        for format_ in formats_of(one)
        if not (one.dialect == "azure" and format_ == "responses" != one.asked)
        if format_ in FORMATS and format_ not in {"embeddings", "count_tokens"}
    ]


def level(one: Exchange, format_: str) -> Level:
    """The level that would have had this answer."""
    body = json.loads(PLAIN[format_])
    if one.streamed:
        body["stream"] = True
    where: dict[str, Any] = {"server": one.server, "model": one.model}
    if one.dialect == "vertex":
        where |= {"project": "p", "location": "l"}
    if format_ != one.asked and one.asked == "chat":
        # As if the server had chat alone: its answers to other formats are no chat completions.
        where["server"] = None
    return Level(DIALECTS[one.dialect], format_, json.dumps(body).encode(), **where)


def same(found: Said | None, wanted: Said) -> None:
    assert found is not None
    assert (found.text, found.calls) == (wanted.text, wanted.calls)
    assert found.thinking == wanted.thinking
    if wanted.finish is not None:
        assert found.finish == wanted.finish
    if wanted.tokens is not None:
        assert found.tokens == wanted.tokens


def test_how_many_there_are() -> None:
    ran = Counter(
        (one.dialect, one.server or "", one.asked, "error" if one.status >= 400
         else "streamed" if one.streamed else "whole")
        for one in EXCHANGES
    )  # fmt: skip
    print(f"\n{len(EXCHANGES)} recordings")  # noqa: T201
    print(*(f"  {n:3} {' '.join(filter(None, of))}" for of, n in sorted(ran.items())), sep="\n")  # noqa: T201
    left = Counter(one.why for one in recordings.skipped())
    print(f"{sum(left.values())} that the gateway has no part in")  # noqa: T201
    print(*(f"  {n:3} {why}" for why, n in left.most_common()), sep="\n")  # noqa: T201
    requests = Counter(_fate(one, name) for one in REQUESTS for name in PROVIDERS)
    print(*(f"  {n:3} requests {fate}" for fate, n in requests.most_common()), sep="\n")  # noqa: T201
    assert not [fate for fate in requests if "the gateway refuses" in fate]


@pytest.mark.parametrize(("one", "format_"), cases(streamed=False))
def test_answer_says_what_was_recorded(one: Exchange, format_: str) -> None:
    wanted = expected(one)
    through = level(one, format_)
    if wanted is None and not _unfinished(one):
        with pytest.raises(BadAnswerError):
            through.answer(one.response)
        return
    answer = through.answer(one.response)
    if through.native:
        assert answer == Passed(one.response, answer.refused)
        return
    assert wanted is not None
    same(told.whole(format_, answer.body), _as(format_, wanted))


def _unfinished(one: Exchange) -> bool:
    """A response that is worked on unwatched: what came is that it was taken."""
    return one.asked == "responses" and json.loads(one.response).get("status") in {
        "queued",
        "in_progress",
    }


@pytest.mark.parametrize(("one", "format_"), cases(streamed=True))
def test_stream_says_what_was_recorded_however_it_is_cut(one: Exchange, format_: str) -> None:
    through = level(one, format_)
    whole = run(through.stream(), one.response)
    for pieces in cuttings(one.response):
        assert run(through.stream(), *pieces) == whole
    wanted = expected(one)
    if wanted is None:
        assert whole.failure is not None
        return
    assert whole.content
    assert whole.failure is None
    if through.native:
        assert whole.out == one.response
        return
    complete = whole.finished or one.name.startswith("test_stream_cancel")
    assert complete
    found = told.streamed(format_, whole.out)
    if whole.finished:
        same(found, _as(format_, wanted))


def cuttings(stream: bytes) -> Iterator[list[bytes]]:
    """Byte by byte, and in two at up to 400 places."""
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(0, len(stream), max(1, len(stream) // 400)):
        yield [stream[:at], stream[at:]]


def _as(format_: str, said: Said) -> Said:
    """What of it the format has words for: a message ends with a tool's use, or does not."""
    if format_ == "responses" and said.finish == "stop" and said.calls:
        return Said(said.text, said.calls, "tool_calls", said.tokens, said.thinking)
    return said


@pytest.mark.parametrize(
    "one",
    [one for one in EXCHANGES if one.asked in {"embeddings", "count_tokens"} and one.status < 400],
    ids=lambda one: one.name,
)
def test_what_has_no_conversation_passes(one: Exchange) -> None:
    answer = Level(DIALECTS[one.dialect], one.asked, model=one.model).answer(one.response)
    assert answer == Passed(one.response)


UNSAID = {"count": "count_tokens", "embed": "embeddings", "embed_v2": "embeddings"}
"""What is asked of providers in words of their own, and the client format that asks for it."""


@pytest.mark.parametrize(
    "one",
    [one for one in EXCHANGES if one.asked in UNSAID and one.status < 400],
    ids=lambda one: one.name,
)
def test_counts_and_vectors_are_those_that_were_recorded(one: Exchange) -> None:
    format_ = UNSAID[one.asked]
    through = Level(DIALECTS[one.dialect], format_, model=one.model, project="p", location="l")
    made = json.loads(through.answer(one.response).body)
    recorded = json.loads(one.response)
    if format_ == "count_tokens":
        assert made["input_tokens"] in {recorded.get("inputTokens"), recorded.get("totalTokens")}
    else:
        assert all(str(vector["embedding"]) in str(recorded) for vector in made["data"])


ERRORS = [one for one in EXCHANGES if one.status >= 400]


@pytest.mark.parametrize("one", ERRORS, ids=lambda one: one.name)
def test_error_is_read_and_told_in_every_format(one: Exchange) -> None:
    found = DIALECTS[one.dialect].failure(one.status, one.headers, one.response)
    assert found.status == one.status
    assert found.message
    with contextlib.suppress(ValueError, AttributeError):
        tree = json.loads(one.response)
        inner = tree.get("error") or tree
        said = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        if isinstance(said, str):
            assert " ".join(said.split())[:100] in found.message
    for format_ in FORMATS.values():
        shown = json.loads(format_.error(client_error(found)))["error"]
        assert shown["message"]
        assert shown["type"]


# --- requests -----------------------------------------------------------------------------

REQUESTS = [one for one in EXCHANGES if one.asked in FORMATS and one.status < 400]


_PLACE = {"model", "anthropic_version"}
KNOWN_HERE = {"thinking", "reasoning", "top_k", "cache_control", "stream_options"}
"""Said to some servers in other words."""


def taken(one: Exchange, provider: str) -> tuple[Level, bytes]:
    dialect, model, where = PROVIDERS[provider]
    # A target knows its own model; the client's body goes with whatever it named.
    given = json.dumps({**one.request, "model": one.model}).encode()
    found = Level(DIALECTS[dialect], one.asked, model=model, **where)
    return found, given


def _fate(one: Exchange, provider: str) -> str:
    through, given = taken(one, provider)
    with contextlib.suppress(ClientError):
        refusal = through.lacks(given)
        if refusal is not None:
            return f"{one.asked} refused by {provider}: {refusal.partition(':')[0]}"
        return f"{one.asked} taken by {provider}"
    return f"{one.asked} that the gateway refuses"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("one", REQUESTS, ids=lambda one: one.name)
def test_request_is_taken_and_translates_or_is_refused(one: Exchange, provider: str) -> None:
    through, given = taken(one, provider)
    refusal = through.lacks(given)
    if refusal is not None:
        assert ": " in refusal
        assert "not yet" not in refusal
        with pytest.raises(ClientError):
            through.request(given)
        return
    made = through.asked(given)
    if isinstance(made, Counted):
        assert made.tokens > 0
        return
    if made.reply.passed or through.native:
        before, after = json.loads(given), json.loads(made.body)
        # Where the model is, is the path's matter with some, and then says which API it is.
        before.pop("model")
        after = {key: value for key, value in after.items() if key not in _PLACE}
        kept = {name for name in before if name not in KNOWN_HERE}
        assert kept - set(after) <= set(made.warnings) | {"seed"}
        if one.asked != "chat":
            assert after == before
        return
    validate(through.dialect.name, made, stream=bool(one.request.get("stream")))
