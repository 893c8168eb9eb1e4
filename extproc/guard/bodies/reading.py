"""A body's texts, found by its shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from extproc.guard import Kind, Medium, Text
from extproc.guard.bodies import encodings
from extproc.guard.bodies.shapes import ANY, TOOL, Rule, Shape, is_name, is_structure
from extproc.guard.bodies.splicing import (
    Document,
    Spot,
    TooManyError,
    UnreadableError,
    Write,
    decoded,
    encoded,
    strings,
)
from extproc.sealed import is_sealed, unwrap, wrap
from extproc.strict_json import MAX_DEPTH

_FEWEST_DIGITS: Final = 6
"""Of a number that is looked at: fewer identify nobody."""
_SMALL: Final = 10 ** (_FEWEST_DIGITS - 1)
MOST_TEXTS: Final = 1 << 16
"""Of a body: each is looked at by itself, and takes some 500 bytes until the body is written. Long
conversations and lists of inputs (of 2,048 at most) have a few thousand."""
_ROLES: Final = frozenset({"user", "assistant", "system", "developer", "tool", "text", "function"})
"""What stands in structure most often."""
_LINK: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://")
_MOST_WITHIN: Final = 4
"""JSON in a string in JSON in a string …: tools that wrap each other's answers come to three."""
_OPENING: Final = frozenset("{[ \t\r\n")
_NOTHING: Final[Mapping[str, Any]] = {}
Beside = Mapping[str, Any]
Encode = Callable[[str], str]


def _again(data: bytes) -> bytes:
    """The document in its one reading; nothing if there is none."""
    try:
        return encoded(decoded(data))
    except (UnreadableError, UnicodeEncodeError, RecursionError):
        return b""


class Reader:
    """Collects the texts and media of a body, and of the documents in its strings."""

    __slots__ = ("_inside", "_within", "media", "texts")

    def __init__(self, inside: Mapping[Rule, Shape]) -> None:
        self._inside = inside
        """The shape of JSON in strings of these rules."""
        self._within = 0
        self.texts: list[Text] = []
        self.media: list[Medium] = []

    def read(self, data: bytes, shape: Shape) -> Document:
        """Raises UnreadableError; what was found until then stays."""
        return self._read(data, shape, "", "", _Walk(self, thinking=False))

    def _read(self, data: bytes, shape: Shape, place: str, under: str, walk: _Walk) -> Document:
        tree = decoded(data)
        walk.value(tree, shape, place, under, 0)
        if walk.string + 1 != strings(data):
            raise UnreadableError("duplicate key")
        return Document(data, walk.spots)

    def inner(
        self, data: bytes, rule: Rule, place: str, under: str, *, thinking: bool = False
    ) -> Document | None:
        """A document in a string; None: it cannot be read as one, and nothing was found."""
        if self._within >= _MOST_WITHIN:
            return None
        texts, media = len(self.texts), len(self.media)
        # Half of the room: what does not fit is one text, and what follows it has its place.
        walk = _Walk(self, thinking=thinking, most=MOST_TEXTS // 2)
        self._within += 1
        try:
            return self._read(data, self._inside[rule], place, under, walk)
        except UnreadableError:
            del self.texts[texts:], self.media[media:]
            return None
        finally:
            self._within -= 1


class _Walk:
    """One document, from its first token to its last."""

    __slots__ = ("_most", "_numbers", "_reader", "_texts", "_thinking", "spots", "string")

    def __init__(self, reader: Reader, *, thinking: bool, most: int = MOST_TEXTS) -> None:
        self._reader = reader
        self._texts = reader.texts
        self._thinking = thinking
        self._most = most
        self._numbers = 0
        """Number tokens since the last string token, where numbers count."""
        self.string = -1
        """The last string token."""
        self.spots: list[Spot] = []

    def value(self, value: Any, shape: Shape, place: str, under: str, depth: int) -> None:
        """Any value that is no field of an object."""
        kind = type(value)
        if kind is str:
            self.string += 1
            self._numbers = 0
            if value:
                _RULES[shape.rule](self, value, shape.rule, place, under, _NOTHING)
        elif kind is int or kind is float:
            if shape.numbers:
                self._number(value, place, under)
        elif shape.rule is Rule.SKIP:
            self._skip(value)
        elif kind is dict:
            self._object(value, shape, place, under, depth + 1)
        elif kind is list:
            self._array(value, shape, place, under, depth + 1)

    def _array(self, value: list[Any], shape: Shape, place: str, under: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise UnreadableError("too deep")
        numbers = shape.numbers
        for index, one in enumerate(value):
            kind = type(one)
            if kind is dict:
                self._object(one, shape, f"{place}[{index}]", under, depth + 1)
            elif numbers or kind is str or kind is list:
                self.value(one, shape, f"{place}[{index}]", under, depth)

    def _object(  # noqa: C901, PLR0912 - it sees every field: what is a call here takes half the time
        self, value: dict[str, Any], shape: Shape, place: str, under: str, depth: int
    ) -> None:
        if depth > MAX_DEPTH:
            raise UnreadableError("too deep")
        if shape.tag:
            tag = value.get(shape.tag)
            if type(tag) is str:
                shape = shape.tagged.get(tag, shape)
        thinking = self._thinking
        if shape.signed and value.get("signature"):
            self._thinking = True
        fields = shape.fields
        rest = shape.rest or (TOOL if shape.numbers else ANY)
        before = place + "." if place else ""
        for key, one in value.items():
            self.string += 1
            self._numbers = 0
            inner = fields.get(key)
            name, within = key, under
            if inner is None:
                inner, within = rest, key
                if not is_name(key):
                    name = "*"
                    if key:
                        self._add(key, before + name, "", beside=value)
            kind = type(one)
            if kind is str:
                self.string += 1
                if inner.rule is Rule.ID:
                    if one in _ROLES or is_structure(one):
                        continue
                    self._add(one, before + name, within)
                elif one:
                    _RULES[inner.rule](self, one, inner.rule, before + name, within, value)
            elif kind is dict and inner.rule is not Rule.SKIP:
                self._object(one, inner, before + name, within, depth + 1)
            elif kind is dict or kind is list:
                self.value(one, inner, before + name, within, depth)
            elif inner.numbers and (kind is int or kind is float):
                self._number(one, before + name, within)
        self._thinking = thinking

    def _skip(self, value: Any) -> None:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            kind = type(one)
            if kind is str:
                self.string += 1
            elif kind is list:
                waiting += one
            elif kind is dict:
                self.string += len(one)
                waiting += one.values()

    # --- what a value is ------------------------------------------------------------------

    def _number(self, value: float, place: str, under: str) -> None:
        self._numbers += 1
        if type(value) is int:
            if -_SMALL < value < _SMALL:
                return
            text = str(value)
        else:
            text = repr(value)
            if sum(map(str.isdigit, text)) < _FEWEST_DIGITS:
                return
        first = self._next()
        kind = Kind.THINKING if self._thinking else Kind.TEXT
        self._texts.append(Text(text, place, under, kind))
        self.spots.append(Spot(self.string, self._numbers, first, first + 1))

    def _next(self) -> int:
        """The index of the next text."""
        index = len(self._texts)
        if index >= self._most:
            raise TooManyError("too many texts")
        return index

    def _add(
        self,
        value: str,
        place: str,
        under: str,
        *,
        encode: Encode | None = None,
        beside: Mapping[str, Any] | None = None,
        kind: Kind = Kind.TEXT,
    ) -> None:
        """One text for the last string token."""
        first = self._next()
        self._texts.append(Text(value, place, under, Kind.THINKING if self._thinking else kind))
        write: Write | None = None
        if encode is not None:

            def write(values: Sequence[str]) -> str:
                return encode(values[first])

        self.spots.append(Spot(self.string, 0, first, first + 1, write, beside))

    # One method for each rule; `beside` is the object that the string is a field of.

    def rule_text(self, value: str, _: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        self._add(value, place, under)

    def rule_said(self, value: str, rule: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        if value[0] in _OPENING:
            start = value.lstrip()
            if start and start[0] in "{[" and self._document(value, rule, place, under):
                return
        self._add(value, place, under)

    def rule_id(self, value: str, _: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        if not is_structure(value):
            self._add(value, place, under)

    def rule_key(self, value: str, _: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        if not is_name(value):
            self._add(value, place, "")

    def rule_call(self, value: str, rule: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        if not self._document(value, rule, place, under):
            self._add(value, place, under, kind=Kind.JSON)

    def rule_opaque(self, value: str, rule: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        if is_sealed(value):
            known = self._sealed(value, place, under)
        elif rule is Rule.THOUGHT and value[0] == "{":
            known = self._document(value, rule, place, under, thinking=True)
        else:
            known = encodings.is_token(value)
        if not known:
            self._add(value, place, under)

    def rule_skipped(self, value: str, _: Rule, place: str, under: str, beside: Beside) -> None:
        pass

    # --- documents in strings -------------------------------------------------------------

    def _document(
        self, value: str, rule: Rule, place: str, under: str, *, thinking: bool = False
    ) -> bool:
        data = value.encode("utf-8", "surrogatepass")
        first = len(self._texts)
        thinking = thinking or self._thinking
        found = self._reader.inner(data, rule, place, under, thinking=thinking)
        if found is None:
            return False
        self._inner(found, first, lambda data: data.decode("utf-8", "surrogatepass"))
        return True

    def _sealed(self, value: str, place: str, under: str) -> bool:
        try:
            data = unwrap(value)
        except ValueError:
            return False
        first = len(self._texts)
        for canonical in (False, True):
            # Where a key is there twice the one that counts is looked at: nobody sees the other.
            if canonical and (data := _again(data)) == b"":
                return False
            found = self._reader.inner(data, Rule.OPAQUE, place, under, thinking=True)
            if found is not None:
                self._inner(found, first, wrap)
                return True
        return False

    def _inner(self, document: Document, first: int, wrapped: Any) -> None:
        texts = self._reader.texts
        last = len(texts)
        if first == last:
            return

        def write(values: Sequence[str]) -> str:
            changed = [at for at in range(first, last) if values[at] != texts[at].value]
            made: str = wrapped(document.written(values, changed))
            return made

        self.spots.append(Spot(self.string, 0, first, last, write))

    # --- pictures and files ---------------------------------------------------------------

    def _note(self, rule: Rule, place: str) -> None:
        kind = "image" if rule is Rule.IMAGE or rule is Rule.IMAGE_ID else "file"
        self._reader.media.append(Medium(kind, place))

    def rule_uploaded(self, value: str, rule: Rule, place: str, under: str, beside: Beside) -> None:
        self._note(rule, place)
        self.rule_id(value, rule, place, under, beside)

    def rule_medium(self, value: str, rule: Rule, place: str, under: str, beside: Beside) -> None:
        found = encodings.read(value, beside, document=rule is Rule.FILE)
        if found.binary:
            self._note(rule, place)
            return
        if rule is Rule.IMAGE or not found.document:
            self._note(rule, place)
        link = found.encode is None and not found.document and _LINK.match(found.text)
        kind = Kind.LINK if link else Kind.TEXT
        self._add(found.text, place, under, encode=found.encode, kind=kind)

    def rule_credential(self, value: str, _: Rule, place: str, under: str, beside: Beside) -> None:  # noqa: ARG002
        self._add(value, place, under, kind=Kind.LINK)


_Method = Callable[[_Walk, str, Rule, str, str, Beside], None]
_RULES: Final[Mapping[Rule, _Method]] = {
    Rule.TEXT: _Walk.rule_text,
    Rule.SAID: _Walk.rule_said,
    Rule.CALL: _Walk.rule_call,
    Rule.ID: _Walk.rule_id,
    Rule.CREDENTIAL: _Walk.rule_credential,
    Rule.KEY: _Walk.rule_key,
    Rule.OPAQUE: _Walk.rule_opaque,
    Rule.THOUGHT: _Walk.rule_opaque,
    Rule.IMAGE: _Walk.rule_medium,
    Rule.FILE: _Walk.rule_medium,
    Rule.IMAGE_ID: _Walk.rule_uploaded,
    Rule.FILE_ID: _Walk.rule_uploaded,
    Rule.SKIP: _Walk.rule_skipped,
}
