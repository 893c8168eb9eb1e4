"""YAML and JSON read with the line of every value, and with no silent loss.

A duplicate key is a mistake that both languages' readers pass over; here it is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from extproc.config.findings import ConfigError, Finding, Path, Severity, dotted

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_MAX_DEPTH = 100
"""Deeper than any Envoy configuration; it keeps the readers from the recursion limit."""


@dataclass(slots=True)
class Document:
    """One parsed file: plain data, and the line of every path in it."""

    name: str
    data: Any
    lines: dict[Path, int]
    findings: list[Finding] = field(default_factory=list)
    numbers: dict[Path, str] = field(default_factory=dict)
    """Numbers with a fraction as they were written, because a float does not keep every digit."""

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing above it that stands in the text."""
        for end in range(len(path), -1, -1):
            if (found := self.lines.get(path[:end])) is not None:
                return found
        return None

    def finding(
        self, path: Path, message: str, rule: str, severity: Severity = Severity.ERROR
    ) -> Finding:
        """A finding about `path` of this document."""
        return Finding(self.name, self.line(path), dotted(path), message, rule, severity)


def read_file(path: File) -> Document:
    """Read one YAML or JSON file. Raises ConfigError when it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ConfigError([Finding(str(path), None, "", message, "unreadable")]) from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
        raise ConfigError([Finding(str(path), None, "", message, "unreadable")]) from error
    return read_text(text, str(path))


def read_text(text: str, name: str) -> Document:
    """Parse YAML or JSON. Raises ConfigError on a syntax error."""
    reader = YAML(typ="rt", pure=True)
    try:
        root = reader.compose(text.replace("\t", "  ") if _is_json(text) else text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        problem = error.problem or error.context or "syntax error"
        raise ConfigError([Finding(name, line, "", f"not YAML: {problem}", "syntax")]) from error
    except YAMLError as error:
        raise ConfigError([Finding(name, None, "", f"not YAML: {error}", "syntax")]) from error
    document = Document(name, None, {})
    if root is not None:
        document.data = _plain(root, (), document)
    return document


def _is_json(text: str) -> bool:
    """JSON may be indented with tabs, which YAML does not allow."""
    return text.lstrip()[:1] in ("{", "[")


def _plain(node: Node, path: Path, document: Document) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > _MAX_DEPTH:
        raise ConfigError([document.finding(path, "is nested too deeply", "syntax")])
    if isinstance(node, MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, SequenceNode):
        return [_plain(one, (*path, index), document) for index, one in enumerate(node.value)]
    if isinstance(node, ScalarNode):
        return _scalar(node, path, document)
    return None


def _mapping(node: MappingNode, path: Path, document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            parents = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
            for parent in reversed(parents):
                merged |= _plain(parent, path, document)
            continue
        if not isinstance(key_node, ScalarNode):
            message = "has a key that is not a text"
            raise ConfigError([document.finding(path, message, "syntax")])
        key = _text(key_node)
        line = key_node.start_mark.line + 1
        if key in found:
            first = document.lines[(*path, key)]
            message = f"is here a second time (first in line {first}); keep one"
            document.findings.append(
                Finding(document.name, line, dotted((*path, key)), message, "duplicate-key")
            )
            continue
        document.lines[(*path, key)] = line
        found[key] = _plain(value_node, (*path, key), document)
    return {**merged, **found} if merged else found


def _text(node: ScalarNode) -> str:
    """JSON writes characters beyond the first plane as two escapes, which YAML keeps apart."""
    text = str(node.value)
    if any("\ud800" <= one <= "\udfff" for one in text):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _scalar(node: ScalarNode, path: Path, document: Document) -> Any:
    text = _text(node)
    kind = str(node.tag).removeprefix(_TAG)
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text.replace("_", ""), 0) if text.lstrip("+-0") else 0
            case "float":
                document.numbers[path] = text
                return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
            case _:
                return text
    except ValueError:
        raise ConfigError([document.finding(path, f"'{text}' is not a number", "syntax")]) from None
