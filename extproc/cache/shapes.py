"""What shapes an answer, by client format: fields that do not, what APIs document as defaults, what
may be said in two ways, and where the turns of a conversation are. Fields that nobody knows count
as shaping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_OPENAI: Final = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "user",
    }
)
"""OpenAI's fields that say how a request is carried, kept or billed, and not what is answered."""
_HINTS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})
"""Within turns and tools: where a provider's prompt cache may cut."""
_STORED: Final = _OPENAI | {"store"}
"""The same where what a provider stores is only for its owner to look at."""
_PENALTIES: Final[dict[str, Any]] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": {},
    "n": 1,
}
"""Temperature and `top_p` are no defaults, though OpenAI documents 1 for both: Mistral, Cohere and
what serves open models have others, so that who says 1 is answered otherwise than who says
nothing."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a conversation, or what stands between turns."""

    role: str
    text: str | None
    """All that is said in it. None: there is more than text, or none."""
    whole: Any
    speaks: bool
    """Somebody says something: neither instructions nor the results of tools."""

    def around(self) -> dict[str, Any]:
        """The turn without what is said."""
        if type(self.whole) is not dict:
            return {}
        return {name: one for name, one in self.whole.items() if name != "content"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of one client format."""

    spoken: str
    """The field in which the turns are."""
    silent: frozenset[str]
    """Fields that do not shape the answer."""
    defaults: dict[str, Any]
    """What a field may say without saying anything."""
    canonical: Callable[[dict[str, Any]], dict[str, Any]]
    """Brings what may be said in several ways into one. Takes fields that are left."""
    turns: Callable[[dict[str, Any]], list[Turn] | None]
    """The turns of fields that are left. None: there are none to tell apart."""
    items: str | None = None
    """The field with inputs that are answered one by one."""
    template: str | None = None
    """The field that names a request kept by the provider, over which this one is laid: whatever it
    says, it says in place of that."""

    def is_default(self, name: str, value: object, given: dict[str, Any]) -> bool:
        """The field says what holds anyway."""
        if self.template is not None and given.get(self.template) is not None:
            return False
        if name == "tool_choice":
            return value in _CHOICES
        default = self.defaults.get(name, _NO_DEFAULT)
        # 1 == True in Python, and not in JSON.
        return default == value and (type(default) is bool) == (type(value) is bool)

    def exact_only(self, left: dict[str, Any]) -> bool:
        """The answer holds what belongs to the very words of this request: chances of tokens, the
        prompt itself, or what a moderation of it says."""
        included = left.get("include")
        return not _VERY_WORDS.isdisjoint(left) or (
            type(included) is list and _LOGPROBS in included
        )


_LOGPROBS: Final = "message.output_text.logprobs"
_NO_DEFAULT: Final = object()
_VERY_WORDS: Final = frozenset({"echo", "logprobs", "moderation", "top_logprobs"})
_CHOICES: Final[tuple[Any, ...]] = ("auto", {"type": "auto"})
"""What a request that says nothing lets a model choose. The second is Anthropic's."""


# --- turns --------------------------------------------------------------------------------


def _turn(given: Any, types: tuple[str, ...]) -> Turn:
    """A message with `role` and `content`. `types`: of parts that are text alone."""
    if type(given) is not dict:
        return Turn("", None, given, speaks=False)
    role, content = given.get("role"), given.get("content")
    if role == "user" or (role == "assistant" and content is not None):
        return Turn(role, _said(content, types), given, speaks=True)
    return Turn("", None, given, speaks=False)


def _said(content: Any, types: tuple[str, ...]) -> str | None:
    if isinstance(content, str):
        return content
    if type(content) is not list or not content:
        return None
    found: list[str] = []
    for part in content:
        if type(part) is not dict or part.get("type") not in types or len(part) != 2:  # noqa: PLR2004 - `type` and `text`
            return None
        text = part.get("text")
        if not isinstance(text, str):
            return None
        found.append(text)
    return "\n".join(found)


def _chat_turns(left: dict[str, Any]) -> list[Turn] | None:
    return [_turn(one, ("text",)) for one in left.get("messages") or ()]


def _responses_turns(left: dict[str, Any]) -> list[Turn] | None:
    return [_turn(one, ("input_text", "output_text")) for one in left.get("input") or ()]


def _completion_turns(left: dict[str, Any]) -> list[Turn] | None:
    prompt = left.get("prompt")
    if not isinstance(prompt, str):
        return None
    return [Turn("user", prompt, prompt, speaks=True)]


# --- one way of several -------------------------------------------------------------------


def _without_hints(one: Any) -> Any:
    """A turn, part or tool without nulls, which are as good as absent in each of them, and without
    what is for a prompt cache."""
    if type(one) is not dict:
        return one
    return {name: value for name, value in one.items() if value is not None and name not in _HINTS}


def _messages_of(left: dict[str, Any], name: str) -> list[Any] | None:
    given = left.get(name)
    if type(given) is not list:
        return None
    made = []
    for one in given:
        turn = _without_hints(one)
        if type(turn) is dict and type(turn.get("content")) is list:
            turn["content"] = [_without_hints(part) for part in turn["content"]]
        made.append(turn)
    return made


def _openai(left: dict[str, Any]) -> dict[str, Any]:
    if isinstance(left.get("stop"), str):
        left["stop"] = [left["stop"]]
    for name in ("stop", "tools", "functions", "include"):
        if left.get(name) == []:
            del left[name]
    if type(left.get("tools")) is list:
        left["tools"] = [_without_hints(one) for one in left["tools"]]
    return left


def _chat(left: dict[str, Any]) -> dict[str, Any]:
    left = _openai(left)
    if (messages := _messages_of(left, "messages")) is not None:
        left["messages"] = messages
    if left.get("function_call") == ("auto" if left.get("functions") else "none"):
        del left["function_call"]
    return left


def _completions(left: dict[str, Any]) -> dict[str, Any]:
    left = _openai(left)
    prompt = left.get("prompt")
    if type(prompt) is list and len(prompt) == 1 and isinstance(prompt[0], str):
        left["prompt"] = prompt[0]
    return left


def _responses(left: dict[str, Any]) -> dict[str, Any]:
    if "prompt" not in left:
        left = _short_settings(_openai(left))
    if isinstance(left.get("input"), str):
        # "A text input to the model, equivalent to a text input with the `user` role."
        left["input"] = [{"role": "user", "content": left["input"]}]
    elif (items := _messages_of(left, "input")) is not None:
        left["input"] = [_item(one) for one in items]
    return left


def _short_settings(left: dict[str, Any]) -> dict[str, Any]:
    if type(left.get("text")) is dict:
        text = _without_hints(left["text"])
        if text.get("format") == {"type": "text"}:
            del text["format"]
        if text.get("verbosity") == "medium":
            del text["verbosity"]
        left["text"] = text
    if type(left.get("reasoning")) is dict:
        left["reasoning"] = _without_hints(left["reasoning"])
    for name in ("text", "reasoning"):
        if left.get(name) == {}:
            del left[name]
    return left


def _item(one: Any) -> Any:
    """An item of a conversation. A message may leave its type out."""
    if type(one) is dict and one.get("type") == "message" and "role" in one and "id" not in one:
        return {name: value for name, value in one.items() if name != "type"}
    return one


def _messages(left: dict[str, Any]) -> dict[str, Any]:
    if (messages := _messages_of(left, "messages")) is not None:
        left["messages"] = [_short(one, "content") for one in messages]
    system = left.get("system")
    if type(system) is list:
        left["system"] = [_without_hints(one) for one in system]
        left = _short(left, "system")
    for name in ("stop_sequences", "tools"):
        if left.get(name) == []:
            del left[name]
    if type(left.get("tools")) is list:
        left["tools"] = [_custom(_without_hints(one)) for one in left["tools"]]
    return left


def _short(one: Any, name: str) -> Any:
    """Anthropic's API: a string is "shorthand for an array of one content block of type text"."""
    content = one.get(name) if type(one) is dict else None
    if (
        type(content) is list
        and len(content) == 1
        and (text := _said(content, ("text",))) is not None
    ):
        return {**one, name: text}
    return one


def _custom(tool: Any) -> Any:
    """A tool that says no type is the client's own."""
    if type(tool) is dict and tool.get("type") == "custom":
        return {name: value for name, value in tool.items() if name != "type"}
    return tool


def _no_turns(left: dict[str, Any]) -> list[Turn] | None:  # noqa: ARG001 - the door's shape
    return None


def _same(left: dict[str, Any]) -> dict[str, Any]:
    return left


SHAPES: Final[dict[str, Shape]] = {
    "chat": Shape(
        spoken="messages",
        silent=_STORED | {"cache_control"},
        defaults={
            **_PENALTIES,
            "logprobs": False,
            "top_logprobs": 0,
            "parallel_tool_calls": True,
            "response_format": {"type": "text"},
            "verbosity": "medium",
        },
        canonical=_chat,
        turns=_chat_turns,
    ),
    "completions": Shape(
        spoken="prompt",
        silent=_STORED,
        defaults={
            **_PENALTIES,
            "best_of": 1,
            "echo": False,
            "suffix": "",
        },
        canonical=_completions,
        turns=_completion_turns,
    ),
    "embeddings": Shape(
        spoken="input",
        silent=frozenset({"user", "metadata", "service_tier"}),
        defaults={"encoding_format": "float"},
        canonical=_same,
        turns=_no_turns,
        items="input",
    ),
    "responses": Shape(
        spoken="input",
        silent=_OPENAI,
        defaults={
            "background": False,
            "parallel_tool_calls": True,
            # An answer that is not stored cannot be gone on from by its id.
            "store": True,
            "top_logprobs": 0,
            "truncation": "disabled",
        },
        canonical=_responses,
        turns=_responses_turns,
        template="prompt",
    ),
    "messages": Shape(
        spoken="messages",
        silent=frozenset({"cache_control", "metadata", "service_tier", "stream"}),
        defaults={},
        canonical=_messages,
        turns=_chat_turns,
    ),
}
"""Client formats whose answers are cached. Counting tokens costs nothing and is not."""
