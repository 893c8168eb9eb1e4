"""What each dialect can carry, and the test that shows it: the tables of docs/dialects.md.

Whoever adds a feature adds a row; whoever adds a dialect, a cell in each. See `cells` for what a
cell may be.
"""

from __future__ import annotations

from typing import Final

from tests.unit.dialects.cells import DIALECTS, Estimated, Native, Refused, Row, Translated
from tests.unit.dialects.features import GROUPS
from tests.unit.dialects.table_answers import ANSWERS, FAILURES
from tests.unit.dialects.table_requests import REQUESTS

NATIVE: Final = Native()
TRANSLATED: Final = Translated()
NO_EMBEDDINGS: Final = "embeddings: {} makes none"

FORMATS: Final[dict[str, Row]] = {
    "chat": {**dict.fromkeys(DIALECTS, TRANSLATED), "openai": NATIVE, "azure": NATIVE},
    "completions": {**dict.fromkeys(DIALECTS, TRANSLATED), "openai": NATIVE, "azure": NATIVE},
    "responses": {**dict.fromkeys(DIALECTS, TRANSLATED), "openai": NATIVE, "azure": NATIVE},
    "messages": {**dict.fromkeys(DIALECTS, TRANSLATED), "anthropic": NATIVE},
    "count_tokens": {
        **dict.fromkeys(DIALECTS, TRANSLATED),
        **dict.fromkeys(("openai", "azure", "cohere"), Estimated()),
        "anthropic": NATIVE,
    },
    "embeddings": {
        **dict.fromkeys(DIALECTS, TRANSLATED),
        **dict.fromkeys(("openai", "azure"), NATIVE),
        "anthropic": Refused(NO_EMBEDDINGS.format("Anthropic")),
        "bedrock": Refused(NO_EMBEDDINGS.format("Bedrock")),
    },
}
"""How a plain request of each client format gets to each dialect."""

TABLES: Final[dict[str, dict[str, Row]]] = {
    "Client formats": FORMATS,
    **{
        f"Requests: {title.lower()}": {name: REQUESTS[name] for name in group}
        for title, group in GROUPS.items()
    },
    "Answers": ANSWERS,
    "Errors and streams": FAILURES,
}
