"""Scripts: how one answer is to behave. docs/simulator.md holds the table of keys.

A script comes with a request (`x-sim-script`, JSON) or stands in the configuration under the
port's name. It may differ by port or model (`by`) and from one try to the next (`sequence`).
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from extproc.simulator import problems

HEADER = "x-sim-script"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call to make. `arguments`: an object, or text put on the wire as it stands (so that
    it may be no JSON at all)."""

    name: str
    arguments: dict[str, Any] | str = {}
    id: str | None = None


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exact usage in tokens. `input` includes `cached` and `cache_write`, which includes
    `cache_write_1h`; `output` includes `reasoning`."""

    input: Tokens
    output: Tokens
    cached: Tokens = 0
    cache_write: Tokens = 0
    reasoning: Tokens = 0
    cache_write_1h: Tokens = 0
    audio_input: Tokens = 0
    """The part of `input` that was sound."""
    audio_output: Tokens = 0
    """The part of `output` that is sound."""

    def __post_init__(self) -> None:
        """Refuse figures whose parts exceed the whole."""
        if self.cached + self.cache_write > self.input:
            raise ValueError("cached and cache_write exceed input")
        if self.cache_write_1h > self.cache_write:
            raise ValueError("cache_write_1h exceeds cache_write")
        if self.reasoning + self.audio_output > self.output:
            raise ValueError("reasoning and audio_output exceed output")
        if self.audio_input > self.input:
            raise ValueError("audio_input exceeds input")


class Script(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """What one answer does. Times are seconds since the request was whole, unless said."""

    latency: Seconds = 0.0
    """Until the response head."""
    ttft: Seconds = 0.0
    """Until the first content event; of a whole answer, until the body."""
    rate: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    """Content events a second after the first. A whole answer's body waits as long as its
    stream would have taken."""
    events: Count | None = None
    """Content events of text."""
    text: str | None = None
    thinking: str | None = None
    tools: list[ToolCall] | None = None
    finish: str | None = None
    usage: Figures | Literal["none"] | None = None
    model: str | None = None
    """Model name in the answer."""
    server: Literal["openai", "azure", "deepseek", "groq", "openrouter"] | None = None
    """Whose way of speaking OpenAI's format the answer has."""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    error: str | dict[str, Any] | None = None
    """A kind of error, or the error body itself."""
    message: str | None = None
    retry_after: Seconds | None = None
    headers: dict[str, str] = {}
    reset: Literal["before", "after_headers"] | Count | None = None
    silence: Literal["before_head", "after_head"] | Count | None = None
    stop_early: Count | None = None
    error_at: Count | None = None
    first_event_error: bool = False
    garbage: Literal["binary", "html", "truncated_json", "empty"] | bool = False
    slow_bytes: Positive | None = None
    slow_delay: Seconds = 0.01
    """Seconds between writes of `slow_bytes`."""
    comment_first: bool = False
    ping_every: Annotated[float, msgspec.Meta(gt=0, le=3600)] | None = None
    """Seconds between keep-alive events or comments while no content flows."""


PLAIN = Script()

_SCRIPT = msgspec.json.Decoder(Script)
_RULES = ("by", "sequence", "id")


class Rules(msgspec.Struct, frozen=True):
    """A script as written: for each name (a model, a port or `*`) one or more scripts, of which
    the nth is for the nth request; the last one goes on."""

    by: dict[str, tuple[Script, ...]]
    key: str
    """Requests that share it are counted together."""

    def scripts(self, model: str, port: str) -> tuple[Script, ...] | None:
        """The scripts for a request, or None when none is meant for it."""
        by = self.by
        return by.get(model) or by.get(port) or by.get("*")


def _said(problem: problems.Problem, where: str) -> str:
    at = ".".join([where, *map(str, problem.path)])
    match problem.kind:
        case "unknown":
            return f"unknown key '{at}'"
        case "missing":
            return f"missing key '{at}'"
        case "type":
            return f"'{at}' should be {problem.expected}, not {problem.got}"
        case "range":
            return f"'{at}' should be {problem.expected}"
        case _:
            return f"'{at}' has a wrong value: {problem.got}"


def _one(value: Any, where: str) -> Script:
    try:
        return problems.convert(value, Script, ())
    except problems.InvalidError as error:
        raise ValueError(_said(error.problem, where)) from None


def _several(value: Any, where: str) -> tuple[Script, ...]:
    if isinstance(value, dict) and "sequence" in value:
        rest = sorted(value.keys() - {"sequence"})
        if rest:
            raise ValueError(f"'{where}.{rest[0]}' does not stand beside 'sequence'")
        items = value["sequence"]
        if not isinstance(items, list) or not items:
            raise ValueError(f"'{where}.sequence' should be a list of scripts")
        return tuple(_one(item, f"{where}.sequence.{n}") for n, item in enumerate(items))
    return (_one(value, where),)


def parse(value: Any, key: str, where: str = "script") -> Rules:
    """Read a decoded script. Raises ValueError whose words name the key at fault."""
    if not isinstance(value, dict):
        raise ValueError(f"'{where}' should be an object")  # noqa: TRY004 - bad input, not a bug
    value = dict(value)
    key = str(value.pop("id", key))
    if "by" not in value:
        return Rules({"*": _several(value, where)}, key)
    rest = sorted(value.keys() - {"by"})
    if rest:
        raise ValueError(f"'{where}.{rest[0]}' does not stand beside 'by'")
    by = value["by"]
    if not isinstance(by, dict):
        raise ValueError(f"'{where}.by' should be an object")  # noqa: TRY004 - as above
    return Rules(
        {name: _several(one, f"{where}.by.{name}") for name, one in by.items()},
        key,
    )


@lru_cache(maxsize=1024)
def parse_header(text: str) -> Rules:
    """Read the header. Raises ValueError whose words name the key at fault."""
    try:
        value = msgspec.json.decode(text.encode("latin-1"))  # as HTTP carries it
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"{HEADER} is not JSON: {error}") from None
    return parse(value, text)


def parse_config(value: Any) -> Rules:
    """Read a configuration: port names (or models, or `*`) to scripts. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("the configuration should be an object of port names to scripts")  # noqa: TRY004
    return parse({"by": value}, "config", "config")


class Turns:
    """Which try of a sequence it is. Remembers the last 10,000 sequences."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()

    def choose(self, rules: Rules, model: str, port: str) -> Script | None:
        """The script for this request, which counts as one try; None if none is meant for it."""
        scripts = rules.scripts(model, port)
        if scripts is None:
            return None
        if len(scripts) == 1:
            return scripts[0]
        key = (rules.key, port)
        turn = self._seen.pop(key, 0)
        self._seen[key] = turn + 1
        if len(self._seen) > 10_000:  # noqa: PLR2004 - as the docstring says
            self._seen.popitem(last=False)
        return scripts[min(turn, len(scripts) - 1)]
