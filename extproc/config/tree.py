"""A value of a configuration together with the place it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from extproc.config.findings import Finding, Path, Severity
from extproc.config.source import Document


def json_name(field: str) -> str:
    """A field's name in protobuf's JSON (`stat_prefix`: `statPrefix`), by protoc's rule."""
    first, *rest = field.split("_")
    return first + "".join(one[:1].upper() + one[1:] for one in rest)


@dataclass(frozen=True, slots=True)
class At:
    """`node` stands at `path` in `document`; None when nothing stands there.

    Keys are asked for by the field's own name; its JSON name (`statPrefix`) is found as well.
    """

    document: Document
    path: Path
    node: Any

    def get(self, *keys: str | int) -> At:
        """What stands further down; a missing step gives a node of None at the path it would
        have."""
        found = self
        for key in keys:
            found = found._child(key)
        return found

    def _child(self, key: str | int) -> At:
        node = self.node
        if isinstance(key, int):
            inside = isinstance(node, list) and key < len(node)
            return At(self.document, (*self.path, key), node[key] if inside else None)
        if isinstance(node, dict):
            for name in (key, json_name(key)):
                if name in node:
                    return At(self.document, (*self.path, name), node[name])
        return At(self.document, (*self.path, key), None)

    def __bool__(self) -> bool:
        """Something stands here."""
        return self.node is not None

    def __iter__(self) -> Iterator[At]:
        """The items of a list, the values of a mapping; nothing for anything else."""
        if isinstance(self.node, list):
            for index in range(len(self.node)):
                yield self.get(index)
        elif isinstance(self.node, dict):
            for key, value in self.node.items():
                yield At(self.document, (*self.path, key), value)

    @property
    def key(self) -> str:
        """The last step of the path."""
        return str(self.path[-1]) if self.path else ""

    @property
    def text(self) -> str:
        """The value, if it is a text; else empty."""
        return self.node if isinstance(self.node, str) else ""

    @property
    def seconds(self) -> float | None:
        """The value, if it is a protobuf duration (`10s`)."""
        try:
            return float(self.text.removesuffix("s")) if self.text.endswith("s") else None
        except ValueError:
            return None

    @property
    def number(self) -> float | None:
        """The value, if it is a number; protobuf's JSON also takes it as text."""
        if isinstance(self.node, bool):
            return None
        try:
            return float(self.node)
        except (TypeError, ValueError):
            return None

    def say(self, message: str, rule: str, severity: Severity = Severity.ERROR) -> Finding:
        """A finding about this place."""
        return self.document.finding(self.path, message, rule, severity)
