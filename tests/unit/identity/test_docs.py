"""What docs/identity.md promises holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ruamel.yaml import YAML

from extproc.config.gateway import Gateway
from extproc.identity import DENIED_AFTER, files
from extproc.identity.keyring import ASK, FRESH, LONGEST_OVERLAP, MOST_KNOWN
from extproc.identity.keys import SCANNED
from extproc.identity.record import MAY_SET, MOST_DIGESTS, Fields
from extproc.identity.secret import LEAST

PAGE = (Path(__file__).parents[3] / "docs" / "identity.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_parts_of_a_gateway(text: str) -> None:
    said: Any = YAML(typ="safe").load(text)
    empty: dict[str, Any] = {"providers": {}, "targets": {}, "chains": {}, "routes": []}
    msgspec.convert(empty | said, Gateway)


def test_every_field_of_a_key_is_told() -> None:
    table = PAGE[PAGE.index("What may be said of a key") : PAGE.index("- **Rotation**")]
    assert set(re.findall(r"`([a-z_]+)`", table)) >= set(Fields.__struct_fields__)


def test_every_refusal_is_told() -> None:
    source = (Path(__file__).parents[3] / "extproc/identity/identify.py").read_text()
    for code in re.findall(r'"([a-z]+_[a-z_]+)"', source):
        known = code in {"invalid_request_error", "permission_error", "server_error"}
        assert known or f"`{code}`" in PAGE or code == "misconfigured"


def test_numbers() -> None:
    assert SCANNED in PAGE
    assert f"{DENIED_AFTER * 1000:.0f} ms after" in PAGE
    assert (FRESH, f"than {ASK} s" in PAGE) == (0.5, True)
    assert f"({LEAST} bytes or more" in PAGE
    assert f"{LONGEST_OVERLAP / 86_400:.0f} days at most" in PAGE
    assert f"{MOST_KNOWN:,} look-ups" in PAGE
    assert f"{files.MOST_LINES:,} keys, {files.MOST_LINE >> 10} KiB a line" in PAGE
    assert f"{files.MOST_BYTES >> 20} MiB a file" in PAGE
    assert MOST_DIGESTS == 4
    assert set(MAY_SET) == {"feature", "session", "labels"}
