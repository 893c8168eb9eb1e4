"""The body of an answer, or of one event of a stream, as Gemini sends it.

Text stays as the JSON literal it came in; what is seldom there or seldom needed stays JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from extproc.dialects.chat.completion import Count
from extproc.dialects.text import NONE


class Called(Struct):
    """A function call."""

    name: str = ""
    args: Raw = Raw(b"{}")
    id: str | None = None


class Blob(Struct, rename="camel"):
    """Bytes in base64."""

    mime_type: str = ""
    data: str = ""


class Part(Struct, rename="camel"):
    """One of its fields is the content."""

    text: Raw = NONE
    thought: bool | None = None
    function_call: Called | None = None
    inline_data: Blob | None = None
    tool_call: Raw = NONE
    tool_response: Raw = NONE
    thought_signature: str | None = None


class Content(Struct):
    """What a candidate said."""

    parts: list[Part] | None = None


class Token(Struct, rename="camel"):
    """A token and its log probability."""

    token: str = ""
    log_probability: float = 0.0


class TopTokens(Struct):
    """What the model looked at besides."""

    candidates: list[Token] | None = None


class LogProbs(Struct, rename="camel"):
    """One entry a token."""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


class Candidate(Struct, rename="camel"):
    """One of the answers."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: Count = 0
    logprobs_result: LogProbs | None = None
    grounding_metadata: Raw = NONE
    citation_metadata: Raw = NONE
    url_context_metadata: Raw = NONE

    def parts(self) -> Sequence[Part]:
        """Its parts, perhaps none."""
        content = self.content
        return (content.parts if content is not None else None) or ()

    def has_sources(self) -> bool:
        """It tells where it is from."""
        return bool(self.grounding_metadata or self.citation_metadata or self.url_context_metadata)


class Feedback(Struct, rename="camel"):
    """Why a prompt was blocked."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class ModalityCount(Struct, rename="camel", gc=False):
    """Tokens of one modality."""

    modality: str = ""
    token_count: Count = 0


class Reported(Struct, rename="camel", gc=False):
    """`usageMetadata`."""

    prompt_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    prompt_tokens_details: list[ModalityCount] | None = None
    candidates_tokens_details: list[ModalityCount] | None = None
    service_tier: str | None = None
    traffic_type: str | None = None

    def covers(self, other: Reported) -> bool:
        """It leaves nothing out that the other one has."""
        return not (
            (self.prompt_token_count is None and other.prompt_token_count is not None)
            or (self.candidates_token_count is None and other.candidates_token_count is not None)
            or (self.thoughts_token_count is None and other.thoughts_token_count is not None)
            or (
                self.cached_content_token_count is None
                and other.cached_content_token_count is not None
            )
            or (self.prompt_tokens_details is None and other.prompt_tokens_details is not None)
            or (
                self.candidates_tokens_details is None
                and other.candidates_tokens_details is not None
            )
            or (self.service_tier is None and other.service_tier is not None)
        )


class Answer(Struct, rename="camel"):
    """A whole answer, or one event of a stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Reported | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


ANSWER: Final = msgspec.json.Decoder(Answer)
