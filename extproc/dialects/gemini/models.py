"""What Gemini models of which generation take, told from their names.

The API refuses a request for a field that its model does not have, and names are all there is to
tell by. Sources: ai.google.dev/gemini-api/docs, pages "thinking", "thought-signatures",
"structured-output", "tool-combination" and "file-input-methods".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_NAME: Final = re.compile(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?=-|$)")
_NEWEST: Final = (999, 0)
_UNKNOWN: Final = (2, 5)
"""Tuned models and names of one's own: the oldest generation that is still served."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `version` is its generation: (2, 5), (3, 1)."""

    name: str
    version: tuple[int, int]
    pro: bool
    lite: bool

    @property
    def signs(self) -> bool:
        """Function calls carry thought signatures, and are refused without."""
        return self.version >= (3, 0)

    @property
    def thinks(self) -> bool:
        """Thinking can be asked for."""
        return self.version >= (2, 5)

    @property
    def by_level(self) -> bool:
        """Thinking is set by a level and not by a budget of tokens."""
        return self.version >= (3, 0)

    @property
    def json_beside_tools(self) -> bool:
        """JSON output, functions and search may be asked for in one request. Before: "Function
        calling with a response mime type: 'application/json' is unsupported"."""
        return self.version >= (3, 0)

    @property
    def media_in_results(self) -> bool:
        """A function's response may hold images and files."""
        return self.version >= (3, 0)

    @property
    def json_schema(self) -> bool:
        """Takes JSON Schema for its output; before, only a subset of OpenAPI's."""
        return self.version >= (2, 5)

    @property
    def validates(self) -> bool:
        """Function calls can be held to their schemas without being forced (`VALIDATED`)."""
        return self.version >= (2, 5)

    @property
    def external_urls(self) -> bool:
        """The Developer API fetches files from any https: URL for it."""
        return self.version >= (2, 5)


@lru_cache(maxsize=256)
def model_of(name: str) -> Model:
    """What the name says: `gemini-2.5-pro`, `models/gemini-3-flash-preview`,
    `gemini-flash-latest` (the newest there is)."""
    last = name.rpartition("/")[2]
    found = _NAME.match(last)
    if found is not None:
        version = (int(found[1]), int(found[2] or 0))
    else:
        version = _NEWEST if last.startswith("gemini-") and last.endswith("-latest") else _UNKNOWN
    return Model(last, version, pro="-pro" in last, lite="-lite" in last)
