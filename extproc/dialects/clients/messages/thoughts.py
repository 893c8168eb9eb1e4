"""What a provider wants back of its thinking, in the blocks of a client of the Messages API.

Claude's own thinking stands in `thinking` and `redacted_thinking` blocks as Claude gave it. That
of other providers is sealed into the `signature` of such a block, or into the `data` of one that
has no text: clients send both back as they got them. So does what belongs to a tool call
(`extra_content`), for which this API has no place of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, structs

from extproc.dialects.anthropic.turns import FORMAT
from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.clients.responses import sealed
from extproc.dialects.clients.responses.sealed import Sealed, is_sealed
from extproc.errors import ClientError, bad_request

__all__ = ["is_own", "is_sealed", "seal", "unseal"]


def seal(
    details: Sequence[ReasoningDetail] = (), calls: dict[str, dict[str, Any]] | None = None
) -> str:
    """A signature, or data. `calls`: `extra_content` by the id of the call."""
    return sealed.seal([Raw(msgspec.json.encode(one)) for one in details], calls)


def unseal(content: str, param: str, text: str | None) -> Sealed:
    """What was sealed; a detail that came as a stream gets its block's `text` back. Raises
    ClientError (400) naming `param` if the content was changed."""
    try:
        found = sealed.unseal(content, param)
    except ClientError:
        message = f"{param}: Invalid `signature` in `thinking` block"
        raise bad_request(message, param) from None
    if not text:
        return found
    details = [
        structs.replace(one, text=text)
        if one.type == "reasoning.text" and one.text is None
        else one
        for one in found.details
    ]
    return Sealed(details, found.calls)


def is_own(detail: ReasoningDetail) -> bool:
    """It is Claude's, and stands in a block as it is."""
    return detail.format == FORMAT
