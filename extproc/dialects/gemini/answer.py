"""Gemini's answers, read: what whole ones and streams have in common, and whole ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from extproc.dialects import BadAnswerError, Reply
from extproc.dialects import text as literals
from extproc.dialects.chat.completion import (
    CalledFunction,
    Choice,
    Completion,
    ReasoningDetail,
    ReplyMessage,
    ToolCall,
    Usage,
)
from extproc.dialects.gemini.grounding import Sources
from extproc.dialects.gemini.problems import of_error
from extproc.dialects.gemini.received import (
    ANSWER,
    Blob,
    Called,
    Candidate,
    Feedback,
    LogProbs,
    ModalityCount,
    Part,
    Reported,
    Token,
)
from extproc.dialects.gemini.turns import FORMAT
from extproc.dialects.tool_arguments import as_text

CONTENT: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    }
)
"""Finish reasons that are a policy's doing."""

BROKEN: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "IMAGE_OTHER",
    }
)
"""Finish reasons of a model that failed: without any text the answer is none, and another
target may do better."""

_LENGTH: Final = frozenset({"MAX_TOKENS", "CONTINUATION"})
"""`CONTINUATION`: the answer reached the limit of one request."""

_TIERS: Final = {
    "standard": "default",
    "flex": "flex",
    "priority": "priority",
    "ON_DEMAND": "default",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_PRIORITY": "priority",
}
"""`serviceTier` (Developer API) and `trafficType` (Vertex AI) in OpenAI's words."""


_STRING: Final = msgspec.json.Decoder(str)


# --- parts --------------------------------------------------------------------------------


def call_of(part: Part, identity: str, index: int, number: int) -> ToolCall:
    """A call with an id: Gemini's own, else one made of the answer's id and the call's place, so
    that ids differ between the turns of a conversation."""
    call = part.function_call or Called()
    name = f"{identity}:{index}:{number}:{call.name}".encode()
    signature: dict[str, Any] | UnsetType = UNSET
    if part.thought_signature:
        signature = {"google": {"thought_signature": part.thought_signature}}
    return ToolCall(
        id=call.id or "call_" + hashlib.blake2b(name, digest_size=12).hexdigest(),
        function=CalledFunction(call.name, as_text(call.args)),
        extra_content=signature,
    )


def sealed(data: str, place: str) -> ReasoningDetail:
    """What Gemini wants back, and where it belongs: see `extproc.dialects.gemini.turns`."""
    return ReasoningDetail(type="reasoning.encrypted", data=data, id=place, format=FORMAT)


def server_part(part: Part) -> str | None:
    """A call that Gemini made itself, or what it gave, as it is to be handed back."""
    call, response = bytes(part.tool_call), bytes(part.tool_response)
    if not call and not response:
        return None
    name, value = (b"toolCall", call) if call else (b"toolResponse", response)
    signature = part.thought_signature
    signed = b"" if signature is None else b',"thoughtSignature":' + msgspec.json.encode(signature)
    return (b'{"%b":%b%b}' % (name, msgspec.json.format(value, indent=-1), signed)).decode()


def image_of(blob: Blob) -> str | None:
    """An image as a `data:` URL."""
    if not blob.mime_type.startswith("image/") or not blob.data:
        return None
    return f"data:{blob.mime_type};base64,{blob.data}"


def finish_of(reason: str | None, *, called: bool) -> str:
    """A finish reason in chat completions' words."""
    if reason in CONTENT:
        return "content_filter"
    if reason in _LENGTH:
        return "length"
    return "tool_calls" if called else "stop"


def logprobs_of(found: LogProbs) -> dict[str, Any] | None:
    """OpenAI's `logprobs` object."""
    chosen = found.chosen_candidates
    if not chosen:
        return None
    tops = found.top_candidates or []
    content = []
    for number, token in enumerate(chosen):
        others = (tops[number].candidates if number < len(tops) else None) or ()
        content.append({**_token(token), "top_logprobs": [_token(one) for one in others]})
    return {"content": content, "refusal": None}


def _token(token: Token) -> dict[str, Any]:
    data = token.token.encode("utf-8", "replace")
    return {"token": token.token, "logprob": token.log_probability, "bytes": list(data)}


# --- usage --------------------------------------------------------------------------------


def tally(reported: Reported | None, known: Usage) -> Usage:
    """Usage in OpenAI's terms. `promptTokenCount` counts cached tokens already. Every chunk of a
    stream has the sums so far, and may leave out what it had before."""
    if reported is None:
        return known
    prompt = known.prompt
    if reported.prompt_token_count is not None:
        prompt = reported.prompt_token_count + (reported.tool_use_prompt_token_count or 0)
    reasoning = reported.thoughts_token_count
    reasoning = known.reasoning if reasoning is None else reasoning
    said = reported.candidates_token_count
    said = known.completion - known.reasoning if said is None else said
    cached = reported.cached_content_token_count
    heard, spoken = reported.prompt_tokens_details, reported.candidates_tokens_details
    return Usage(
        prompt=prompt,
        completion=said + reasoning,
        cached=known.cached if cached is None else cached,
        reasoning=reasoning,
        audio_prompt=known.audio_prompt if heard is None else _audio(heard),
        audio_completion=known.audio_completion if spoken is None else _audio(spoken),
    )


def _audio(details: list[ModalityCount]) -> int:
    return sum(one.token_count for one in details if one.modality == "AUDIO")


def tier_of(reported: Reported | None) -> str | None:
    """The tier that served, in OpenAI's words."""
    if reported is None:
        return None
    return _TIERS.get((reported.service_tier or "").lower()) or _TIERS.get(
        reported.traffic_type or ""
    )


# --- a whole answer -----------------------------------------------------------------------


class _Message:
    """One candidate, put together part by part."""

    def __init__(self, candidate: Candidate, identity: str, json_tool: str | None) -> None:
        self.text: list[str] = []
        self.length = self.size = 0
        """Characters, and bytes of UTF-8, of the text so far."""
        self.thinking: list[str] = []
        self.calls: list[ToolCall] = []
        self.images: list[dict[str, Any]] = []
        self.details: list[ReasoningDetail] = []
        self.starts: list[int] = []
        for part in candidate.parts():
            self._add(part, candidate, identity, json_tool)

    def _add(self, part: Part, candidate: Candidate, identity: str, json_tool: str | None) -> None:
        text = literals.literal(part.text)
        self.starts.append(-1 if part.thought or not text else self.size)
        signature = part.thought_signature
        if part.function_call is not None:
            call = call_of(part, identity, candidate.index, len(self.calls))
            self._call(call, signature, json_tool)
        elif part.inline_data is not None:
            self._image(part.inline_data, signature)
        elif (whole := server_part(part)) is not None:
            self.details.append(sealed(whole, f"part:{self.length}"))
        elif part.thought:
            if text:
                self.thinking.append(_STRING.decode(text))
            if signature:
                self.details.append(sealed(signature, "thought"))
        else:
            start = self.length
            if text:
                self._say(_STRING.decode(text))
            if signature:
                self.details.append(sealed(signature, f"text:{start}:{self.length}"))

    def _call(self, call: ToolCall, signature: str | None, json_tool: str | None) -> None:
        if json_tool is not None and call.function.name == json_tool:
            self._say(call.function.arguments)
            return
        self.calls.append(call)
        if signature:
            self.details.append(sealed(signature, call.id))

    def _image(self, blob: Blob, signature: str | None) -> None:
        url = image_of(blob)
        if url is None:
            return
        if signature:
            self.details.append(sealed(signature, f"image:{len(self.images)}:{self.length}"))
        self.images.append({"type": "image_url", "image_url": {"url": url}})

    def _say(self, text: str) -> None:
        self.text.append(text)
        self.length += len(text)
        self.size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _choice(candidate: Candidate, identity: str, json_tool: str | None) -> Choice:
    message = _Message(candidate, identity, json_tool)
    finish = finish_of(candidate.finish_reason, called=bool(message.calls))
    filtered = finish == "content_filter"
    text = "".join(message.text)
    sources = Sources()
    sources.add(
        candidate.grounding_metadata, candidate.citation_metadata, candidate.url_context_metadata
    )
    found = candidate.logprobs_result
    return Choice(
        index=candidate.index,
        message=ReplyMessage(
            content=text or (None if message.calls or filtered else ""),
            refusal=candidate.finish_message if filtered else None,
            tool_calls=message.calls or UNSET,
            reasoning_content="".join(message.thinking) or UNSET,
            reasoning_details=message.details or UNSET,
            annotations=(sources.annotations(text, message.starts) if sources else None) or UNSET,
            images=message.images or UNSET,
        ),
        logprobs=None if found is None else logprobs_of(found),
        finish_reason=finish,
    )


def _has_content(choice: Choice) -> bool:
    message = choice.message
    return bool(message.content or message.tool_calls or message.images)


def _blocked(feedback: Feedback) -> Choice:
    """The prompt was refused: there is no candidate at all."""
    return Choice(
        index=0,
        message=ReplyMessage(content=None, refusal=feedback.block_reason_message),
        finish_reason="content_filter",
    )


def read(body: bytes, reply: Reply, created: int, mint: Callable[[], str]) -> Completion:
    """A whole answer. Raises BadAnswerError, or what msgspec raises."""
    found = ANSWER.decode(body)
    if found.error:
        raise BadAnswerError(of_error(200, {"error": found.error}, {}).message)
    identity = found.response_id or mint()
    choices = [_choice(one, identity, reply.json_tool) for one in found.candidates or ()]
    empty = not any(_has_content(one) for one in choices)
    reasons = {one.finish_reason for one in found.candidates or ()}
    refused = empty and bool(reasons) and reasons <= CONTENT
    if not choices:
        if found.prompt_feedback is None or found.prompt_feedback.block_reason is None:
            raise BadAnswerError("an answer without candidates")
        choices = [_blocked(found.prompt_feedback)]
        refused = True
    elif empty and reasons & BROKEN:
        raise BadAnswerError(f"the model ended with {min(filter(None, reasons))}")
    return Completion(
        id=f"chatcmpl-{identity}",
        created=created,
        model=found.model_version or "",
        choices=choices,
        usage=tally(found.usage_metadata, Usage()),
        refused=refused,
        service_tier=tier_of(found.usage_metadata),
    )
