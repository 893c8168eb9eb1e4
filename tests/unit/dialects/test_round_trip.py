"""OpenAI → a provider → OpenAI gives what went in.

What is said in a request is found again in the provider's body, unless a warning names it or the
table of docs/dialects.md says that it is refused; what a provider answers reaches the client.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.dialects import Reply
from extproc.dialects.chat.completion import Chunks, Completion
from extproc.dialects.provider import Translated
from tests.unit.dialects.cells import Refused
from tests.unit.dialects.level import FORMATS
from tests.unit.dialects.samples import DIALECTS, TARGETS, dialects, run
from tests.unit.dialects.table_requests import REQUESTS
from tests.unit.dialects.wire import WRITERS, asking, sayable
from tests.unit.dialects.wire.said import Call, Said, Used, heard, overheard

PROPERTY = settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NAMES = ("openai", "anthropic", "gemini", "bedrock", "cohere")
"""Azure differs from OpenAI, and Vertex AI from Gemini, in paths and little else."""

Chat = dict[str, Any]


def _of_openai(body: bytes) -> Chat:
    return asking.normal(json.loads(body))


def _of_anthropic(body: bytes) -> Chat:
    """As a client of Anthropic's messages would be understood."""
    chat = FORMATS["messages"].decode(body).chat
    found: Chat = json.loads(msgspec.json.encode(chat))
    if "response_format" in found:
        found["response_format"] = found["response_format"]["json_schema"]["schema"]
    for one in found["messages"]:
        # Thinking stands in the details as well.
        one.pop("reasoning_content", None)
    return asking.normal(found)


READERS: dict[str, Callable[[bytes], Chat]] = {
    "openai": _of_openai,
    "anthropic": _of_anthropic,
    "gemini": asking.gemini,
    "bedrock": asking.bedrock,
    "cohere": asking.cohere,
}

# --- what may be said -----------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), max_size=8).map(lambda one: f"a{one}z")
"""No text is white space alone, which some providers do not take."""
NAME = st.from_regex(r"[a-z][a-zA-Z0-9_-]{0,12}", fullmatch=True)
BASE64 = st.sampled_from(["aGVsbG8=", "iVBORw0KGgo=", "AAAA"])
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | WORDS
OBJECT = st.dictionaries(
    WORDS,
    st.recursive(
        SCALAR, lambda one: st.lists(one, max_size=3) | st.dictionaries(WORDS, one, max_size=3)
    ),
    max_size=3,
)
SCHEMA = st.lists(NAME, min_size=1, max_size=3, unique=True).map(
    lambda names: {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
)


def carries(name: str, feature: str) -> bool:
    return not isinstance(REQUESTS[feature][name], Refused)


def part(name: str) -> st.SearchStrategy[Chat]:
    kinds = [st.builds(asking.text, WORDS), st.builds(asking.image, st.just("image/png"), BASE64)]
    if carries(name, "PDF as base64"):
        kinds.append(st.builds(asking.file, st.just("application/pdf"), BASE64))
    if carries(name, "image by URL"):
        url = {"url": "https://example.com/a.png"}
        kinds.append(st.just({"type": "image_url", "image_url": url}))
    return st.one_of(kinds)


def thoughts(name: str) -> st.SearchStrategy[list[Chat]]:
    """Thinking that the provider gave in an earlier turn and wants back."""
    sealed = st.fixed_dictionaries(
        {"type": st.just("reasoning.encrypted"), "data": BASE64, "format": st.just(CLAUDE)}
    )
    signed = st.fixed_dictionaries(
        {
            "type": st.just("reasoning.text"),
            "text": WORDS,
            "signature": BASE64,
            "format": st.just(CLAUDE),
        }
    )
    plain = st.fixed_dictionaries(
        {"type": st.just("reasoning.text"), "text": WORDS, "format": st.just("cohere-v2")}
    )
    if name in ("anthropic", "bedrock"):
        return st.lists(signed | sealed, max_size=2)
    return st.lists(plain, max_size=1) if name == "cohere" else st.just([])


CLAUDE = "anthropic-claude-v1"


@st.composite
def conversations(draw: st.DrawFn, name: str, tools: list[str]) -> list[Chat]:
    """The system first; then the user and the assistant in turns, of which the user or a tool
    has the last."""
    messages: list[Chat] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(WORDS)})
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        messages.append(draw(user(name)))
        said: Chat = {"role": "assistant"}
        calls = draw(st.lists(st.sampled_from(tools), max_size=2)) if tools else []
        if not calls or draw(st.booleans()):
            said["content"] = draw(WORDS)
        if details := draw(thoughts(name)):
            said["reasoning_details"] = details
        if calls:
            said["tool_calls"] = [
                asking.call(f"call_{number + at}", one, draw(OBJECT))
                for at, one in enumerate(calls)
            ]
            if name == "gemini" and draw(st.booleans()):
                extra = {"google": {"thought_signature": draw(BASE64)}}
                said["tool_calls"][0]["extra_content"] = extra
        messages.append(said)
        messages += [draw(result(name, one["id"])) for one in said.get("tool_calls", [])]
        number += len(calls)
    return [*messages, draw(user(name))]


def user(name: str) -> st.SearchStrategy[Chat]:
    content = st.builds(
        lambda first, others: [asking.text(first), *others], WORDS, st.lists(part(name), max_size=2)
    )
    return st.builds(lambda said: {"role": "user", "content": said}, WORDS | content)


@st.composite
def result(draw: st.DrawFn, name: str, id_: str) -> Chat:
    content: list[Chat] = [asking.text(draw(WORDS))]
    if carries(name, "results with images") and name != "openai" and draw(st.booleans()):
        content.append(asking.image("image/png", draw(BASE64)))
    found: Chat = {"role": "tool", "content": content, "tool_call_id": id_}
    if name not in ("openai", "cohere") and draw(st.booleans()):
        found["is_error"] = True
    return found


@st.composite
def requests(draw: st.DrawFn, name: str) -> Chat:
    found: Chat = {}
    declared = draw(
        st.lists(
            st.builds(asking.tool, NAME, st.none() | WORDS, SCHEMA),
            max_size=3,
            unique_by=lambda one: one["function"]["name"],
        )
    )
    names = [one["function"]["name"] for one in declared]
    if declared:
        found["tools"] = declared
        choices: list[Any] = [None, "auto", "none", "required"]
        if name != "cohere":
            choices.append({"type": "function", "function": {"name": names[0]}})
        found["tool_choice"] = draw(st.sampled_from(choices))
    elif draw(st.booleans()):
        found["response_format"] = draw(SCHEMA)
    found |= draw(st.fixed_dictionaries({}, optional=SAMPLING))
    if not carries(name, "n"):
        found.pop("n", None)
    if not carries(name, "logprobs"):
        found.pop("logprobs", None)
    found["messages"] = draw(conversations(name, names))
    if any("reasoning_details" in one for one in found["messages"]):
        # Without it Claude does not look at what it thought before.
        found["reasoning_effort"] = "high"
    return asking.without_none(found)


SAMPLING = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(1, 100),
    "seed": st.integers(0, 2**31 - 1),
    "stop": st.lists(WORDS, min_size=1, max_size=4),
    "max_completion_tokens": st.integers(1, 5000),
    "presence_penalty": st.floats(-2, 2),
    "frequency_penalty": st.floats(-2, 2),
    "n": st.integers(2, 8),
    "logprobs": st.just(True),
    "user": WORDS,
}
SILENT = {"gemini": {"user"}}
"""What the table says is left out without a word."""
WARNED_AS = {"max_tokens": "max_completion_tokens"}
DEFAULTS: dict[str, Any] = {
    "temperature": (1,),
    "top_p": (0, 1),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
"""Values that say what is so anyway, or nothing: they need not be found."""


def client(chat: Chat) -> bytes:
    """The request as a client writes it."""
    found = {"model": "flagship", **chat}
    if "response_format" in found:
        schema = {"name": "answer", "schema": found["response_format"]}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    found["messages"] = [_spoken(one) for one in chat["messages"]]
    return json.dumps(found).encode()


def _spoken(message: Chat) -> Chat:
    calls = message.get("tool_calls")
    if calls is None:
        return message
    written = [
        {
            **one,
            "function": {**one["function"], "arguments": json.dumps(one["function"]["arguments"])},
        }
        for one in calls
    ]
    return {**message, "tool_calls": written}


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@PROPERTY
def test_a_request(name: str, data: st.DataObject) -> None:
    chat = data.draw(requests(name))
    body = client(chat)
    FORMATS["chat"].parse(body)
    assert DIALECTS[name].lacks(body) is None
    dialect, target = DIALECTS[name].dialect, DIALECTS[name].target
    assert isinstance(dialect, Translated)
    # As it is written for a target of another format than the client's, even OpenAI.
    wire = dialect.write_chat(FORMATS["chat"].decode(body), target)
    again = READERS[name](wire.body)
    if name == "openai" and "response_format" in again:
        again["response_format"] = again["response_format"]["json_schema"]["schema"]
    told = {one.partition(" ")[0].partition(".")[0] for one in wire.warnings}
    told = {WARNED_AS.get(one, one) for one in told} | SILENT.get(name, set())
    said = asking.normal(chat)
    if said.pop("reasoning_effort", None) and "reasoning_effort" in told:
        for one in said["messages"]:
            one.pop("reasoning_details", None)
    for field, value in said.items():
        if field not in told and value not in DEFAULTS.get(field, ()):
            assert again.get(field) == value, (field, wire.warnings)


# --- what may be answered -------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def answers(draw: st.DrawFn) -> Said:
    text = draw(TEXT)
    calls = draw(st.lists(st.tuples(NAME, OBJECT), max_size=3))
    prompt, completion = draw(st.integers(0, 1 << 30)), draw(st.integers(0, 1 << 30))
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    finish = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    cited: tuple[tuple[int, int, str, str], ...] = ()
    if len(text) > 1 and not calls and draw(st.booleans()):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        cited = ((start, end, "https://example.com/" + draw(NAME), draw(WORDS)),)
    return Said(
        text=text,
        thinking=draw(TEXT),
        signature=draw(st.just("") | BASE64),
        sealed=draw(st.just("") | BASE64),
        calls=tuple(Call(f"call_{at}", name, given) for at, (name, given) in enumerate(calls)),
        finish=finish,
        cited=cited,
        used=Used(
            prompt=prompt,
            completion=completion,
            cached=cached,
            cache_write=written,
            cache_write_1h=draw(st.integers(0, written)),
            reasoning=draw(st.integers(0, completion)),
        ),
    )


@pytest.mark.parametrize("name", NAMES)
@given(said=answers())
@PROPERTY
def test_an_answer(name: str, said: Said) -> None:
    said = sayable(name, said)
    body = WRITERS[name].whole(said)
    assert heard(DIALECTS[name].answer(body).body) == said


@pytest.mark.parametrize("name", NAMES)
@given(said=answers(), size=st.integers(1, 20), cut=st.integers(1, 200))
@PROPERTY
def test_a_stream(name: str, said: Said, size: int, cut: int) -> None:
    said = sayable(name, said)
    stream = WRITERS[name].stream(said, size)
    pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    got = run(DIALECTS[name].stream(), *pieces)
    assert got.finished
    assert overheard(got.out) == said


@given(said=answers(), size=st.integers(1, 20))
@PROPERTY
def test_openais_own_answers_when_they_are_translated(said: Said, size: int) -> None:
    """For a client of another format they are read as every other provider's are."""
    said = sayable("openai", said)
    dialect = dialects()["openai"]
    whole = dialect.read(WRITERS["openai"].whole(said), Reply(model=TARGETS["openai"]["model"]))
    assert isinstance(whole, Completion)
    assert heard(whole.encode()) == said
    got = run(dialect.stream(Chunks(), Reply()), WRITERS["openai"].stream(said, size))
    assert overheard(got.out) == said
