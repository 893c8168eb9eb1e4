"""Servers that speak OpenAI's chat completions in their own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from extproc.simulator import openai_request as wire
from extproc.simulator.chat import Failure, Reply, Usage, bearer
from extproc.simulator.openai_service import Service


class ThinkingSwitch(wire.Strict):
    """Whether to think."""

    type: Literal["enabled", "disabled"]


class DeepSeekAssistant(wire.Assistant, tag_field="role", tag="assistant"):
    """The model's message, with its reasoning."""

    reasoning_content: str | None = None
    prefix: bool | UnsetType = UNSET


class DeepSeekBody(wire.Body, kw_only=True):
    """What DeepSeek takes beyond OpenAI's fields."""

    messages: list[  # type: ignore[assignment]
        wire.System | wire.User | DeepSeekAssistant | wire.ToolMessage
    ]
    thinking: ThinkingSwitch | None = None


class DeepSeek(Service):
    """DeepSeek: reasoning in `reasoning_content`, cache hits and misses in usage."""

    name = "deepseek"
    chat_body = DeepSeekBody
    lacks = ("embeddings", "responses")
    keeps = False
    usage_at_finish = True
    own_rules = False
    reports_system = False

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as DeepSeek says it."""
        key = bearer(headers)
        if key and "wrong" not in key:
            return None
        return self.failure(
            401,
            f"Authentication Fails, Your api key: ****{key[-4:]} is invalid",
            kind="authentication_error",
            code="invalid_request_error",
        )

    def thinks(self, chat: wire.Body) -> bool:
        """The reasoner always does, other models when asked."""
        if isinstance(chat, DeepSeekBody) and chat.thinking is not None:
            return chat.thinking.type == "enabled"
        return "reasoner" in chat.model

    def thought(self, text: str, *, delta: bool) -> dict[str, Any]:
        """Reasoning beside an empty content."""
        return {"content": None, "reasoning_content": text} if delta else super().thought(
            text, delta=delta
        )  # fmt: skip

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Neither refusals nor citations."""
        return _without(message, "refusal", "annotations")

    def usage(self, usage: Usage, figures: dict[str, Any]) -> dict[str, Any]:
        """Hits and misses of the cache."""
        return {
            **figures,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
            "prompt_cache_hit_tokens": usage.cached,
            "prompt_cache_miss_tokens": usage.input - usage.cached,
        }

    def whole(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """Its own id."""
        return body | {"id": reply.id, "system_fingerprint": "fp_eaab8d114b_prod0820"}


class RouterReasoning(wire.Strict):
    """How much to reason."""

    effort: wire.Effort | None = None
    max_tokens: int | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class RouterAssistant(wire.Assistant, tag_field="role", tag="assistant"):
    """The model's message, with its reasoning."""

    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


class CacheControl(wire.Strict):
    """Anthropic's mark of what to cache."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | UnsetType = UNSET


class RouterText(wire.TextPart, tag_field="type", tag="text"):
    """Text that may be marked for the cache."""

    cache_control: CacheControl | None = None


class RouterUser(wire.User, tag_field="role", tag="user"):
    """A user message with such text."""

    content: (  # type: ignore[assignment]
        str | list[RouterText | wire.ImagePart | wire.AudioPart | wire.FilePart]
    )


class RouterSystem(wire.System, tag_field="role", tag="system"):
    """A system message with such text."""

    content: str | list[RouterText]  # type: ignore[assignment]


class RouterTool(wire.ToolMessage, tag_field="role", tag="tool"):
    """A tool's result with such text."""

    content: str | list[RouterText]  # type: ignore[assignment]


class ServerTool(msgspec.Struct, kw_only=True):
    """A tool of OpenRouter's own."""

    parameters: dict[str, Any] | None = None


class RouterSearch(ServerTool, tag_field="type", tag="openrouter:web_search"):
    """Search the web."""


class RouterFetch(ServerTool, tag_field="type", tag="openrouter:web_fetch"):
    """Read a page."""


class RouterAdvisor(ServerTool, tag_field="type", tag="openrouter:advisor"):
    """Ask another model."""


class RouterTime(ServerTool, tag_field="type", tag="openrouter:datetime"):
    """Tell the time."""


class RouterDrawing(ServerTool, tag_field="type", tag="openrouter:image_generation"):
    """Draw."""


RouterTools = (
    wire.FunctionTool
    | wire.CustomTool
    | RouterSearch
    | RouterFetch
    | RouterAdvisor
    | RouterTime
    | RouterDrawing
)


class OpenRouterBody(wire.Body, kw_only=True):
    """What OpenRouter takes beyond OpenAI's fields."""

    messages: list[  # type: ignore[assignment]
        wire.Developer | RouterSystem | RouterUser | RouterAssistant | RouterTool
    ]
    tools: list[RouterTools] | UnsetType = UNSET  # type: ignore[assignment]
    models: list[str] | UnsetType = UNSET
    provider: dict[str, Any] | None = None
    reasoning: RouterReasoning | None = None
    include_reasoning: bool | None = None
    plugins: list[dict[str, Any]] | UnsetType = UNSET
    transforms: list[str] | UnsetType = UNSET
    route: Literal["fallback", "sort"] | None = None
    usage: dict[str, Any] | None = None
    top_k: int | None = None
    top_a: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    session_id: str | UnsetType = UNSET
    trace: dict[str, Any] | UnsetType = UNSET


class OpenRouter(Service):
    """OpenRouter: `reasoning` and `reasoning_details`, native finish reasons, costs in usage."""

    name = "openrouter"
    keepalive = b": OPENROUTER PROCESSING\n\n"
    chat_body = OpenRouterBody
    keeps = False
    usage_at_finish = True
    own_rules = False
    reports_system = False

    def body_of(
        self, status: int, message: str, kind: str, param: str | None, code: str | int | None
    ) -> dict[str, Any]:
        """The status is the code."""
        del kind, param, code
        return {"error": {"message": message, "code": status}, "user_id": "user_sim"}

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as OpenRouter says it."""
        key = bearer(headers)
        if not key:
            return self.failure(401, "No auth credentials found")
        return self.failure(401, "User not found.") if "wrong" in key else None

    def thinks(self, chat: wire.Body) -> bool:
        """When asked, and not hidden."""
        if not isinstance(chat, OpenRouterBody):
            return False
        asked = chat.reasoning
        if asked is None:
            return bool(chat.include_reasoning)
        return not asked.exclude and asked.enabled is not False and asked.effort != "none"

    def thought(self, text: str, *, delta: bool) -> dict[str, Any]:
        """Reasoning as text and with its details."""
        details = {
            "type": "reasoning.text",
            "text": text,
            "format": "unknown",
            "index": 0,
        }
        made = {"reasoning": text, "reasoning_details": [details]}
        return {"content": ""} | made if delta else made

    def usage(self, usage: Usage, figures: dict[str, Any]) -> dict[str, Any]:
        """What it cost in US dollars."""
        cost = (usage.input + 4 * usage.output) * 1e-6
        return figures | {
            "cost": round(cost, 8),
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": None},
        }

    def choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The reason in the upstream provider's words."""
        finish = choice["finish_reason"]
        return choice | {"native_finish_reason": {"length": "max_tokens"}.get(finish, finish)}

    def whole(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """Its own id, and who served."""
        return {**body, "id": f"gen-{reply.created}-{reply.id}", "provider": "Simulated"}


class GroqAssistant(wire.Assistant, tag_field="role", tag="assistant"):
    """The model's message, with its reasoning."""

    reasoning: str | None = None


class GroqBody(wire.Body, kw_only=True):
    """What Groq takes beyond OpenAI's fields."""

    messages: list[  # type: ignore[assignment]
        wire.Developer | wire.System | wire.User | GroqAssistant | wire.ToolMessage
    ]
    reasoning_format: Literal["hidden", "raw", "parsed"] | None = None
    include_reasoning: bool | None = None
    service_tier: Literal["auto", "on_demand", "flex", "performance"] | None = None  # type: ignore[assignment]
    compound_custom: dict[str, Any] | UnsetType = UNSET
    search_settings: dict[str, Any] | UnsetType = UNSET
    documents: list[dict[str, Any]] | UnsetType = UNSET
    citation_options: Literal["enabled", "disabled"] | UnsetType = UNSET
    disable_tool_validation: bool | UnsetType = UNSET


class Groq(Service):
    """Groq: `reasoning`, times in usage, and `x_groq` with the usage of streams."""

    name = "groq"
    chat_body = GroqBody
    lacks = ("completions", "embeddings")
    keeps = False
    own_rules = False

    def authenticate(self, headers: Mapping[str, str], query: str) -> Failure | None:  # noqa: ARG002
        """401 as Groq says it."""
        key = bearer(headers)
        if key and "wrong" not in key:
            return None
        return self.failure(401, "Invalid API Key", code="invalid_api_key")

    def body_of(
        self, status: int, message: str, kind: str, param: str | None, code: str | int | None
    ) -> dict[str, Any]:
        """Fields that say nothing are left out."""
        made = super().body_of(status, message, kind, param, code)["error"]
        return {"error": {key: value for key, value in made.items() if value is not None}}

    def headers(self, reply_id: str, *, stream: bool) -> list[tuple[str, str]]:
        """Groq's own beside the rate limits."""
        kept = [
            one
            for one in super().headers(reply_id, stream=stream)
            if one[0].startswith("x-ratelimit") or one[0] in ("content-type", "x-request-id")
        ]
        return [*kept, ("x-groq-region", "sim")]

    def thinks(self, chat: wire.Body) -> bool:
        """When the reasoning is to be parsed out."""
        if not isinstance(chat, GroqBody):
            return False
        return chat.reasoning_format == "parsed" or chat.include_reasoning is True

    def thought(self, text: str, *, delta: bool) -> dict[str, Any]:
        """Reasoning as text."""
        del delta
        return {"reasoning": text}

    def message(self, message: dict[str, Any]) -> dict[str, Any]:
        """Neither refusals nor citations."""
        return _without(message, "refusal", "annotations")

    def usage(self, usage: Usage, figures: dict[str, Any]) -> dict[str, Any]:
        """Seconds beside the tokens."""
        times = {"queue_time": 0.05, "prompt_time": 0.01, "completion_time": 0.1}
        made = figures | times | {"total_time": 0.11}
        made["prompt_tokens_details"] = {"cached_tokens": usage.cached}
        made["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
        unsaid = () if usage.cached else ("prompt_tokens_details",)
        return _without(made, *unsaid, *(() if usage.reasoning else ("completion_tokens_details",)))

    def whole(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """Its own word for the usual tier."""
        del reply
        more = {"usage_breakdown": None} if "choices" in body else {}
        return body | more | {"service_tier": "on_demand"}

    def marks(self, reply: Reply, *, first: bool, usage: Any) -> dict[str, Any]:
        """`x_groq`: the request's id, and the stream's usage in its last chunk."""
        made: dict[str, Any] = {"id": f"req_{reply.id}"}
        if not first and usage is not None:
            made["usage"] = usage
        return {"x_groq": made}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields but those that are named; a refusal that says something stays."""
    return {key: one for key, one in fields.items() if key not in names or isinstance(one, str)}
