"""What stands where in a body: which strings are structure, and what the others are.

A `Shape` says so of one place. A string is text unless its place says otherwise, and what a shape
does not name is text with all that is in it: a field that a format was given yesterday is looked
through like any other.

A list is of its place's shape in each of its elements: the formats have no list that matters
otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, auto
from typing import Final


class Rule(IntEnum):
    """What a string is."""

    TEXT = auto()
    """What somebody says."""
    SAID = auto()
    """The same; where all of it is a JSON object or array, its leaves are the texts. (Tools answer
    in JSON, models do if they are asked to, and it escapes what a detector looks for.)"""
    CALL = auto()
    """JSON as text. What cannot be read as such is one text, `Kind.JSON`."""
    ID = auto()
    """Structure: names of types, roles, models and tools, ids, sizes."""
    KEY = auto()
    """A name of a property: it is what the property's own key is, structure or text."""
    OPAQUE = auto()
    """What a provider has encrypted or signed. What Tollgate sealed is looked into."""
    THOUGHT = auto()
    """The same; a JSON object is one of Claude's blocks, kept as its JSON."""
    IMAGE = auto()
    """Where a picture, sound or video is: a link, a `data:` URL, base64."""
    FILE = auto()
    """The same of a document."""
    IMAGE_ID = auto()
    """A picture's id at the provider."""
    FILE_ID = auto()
    """A document's."""
    CREDENTIAL = auto()
    """What the provider calls somebody else with: `Kind.LINK`."""
    SKIP = auto()
    """Neither looked at nor changed, with all that is in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What may stand in one place, whatever of it does."""

    rule: Rule = Rule.TEXT
    """Of a string."""
    fields: Mapping[str, Shape] = field(default_factory=dict)
    """Of an object's fields."""
    rest: Shape | None = None
    """Of fields that `fields` does not name, whose names are the client's own. None: `ANY`."""
    tag: str = ""
    """A field whose value tells the object's shape, where it is one of `tagged`."""
    tagged: Mapping[str, Shape] = field(default_factory=dict)
    numbers: bool = False
    """A number of many digits is a text too."""
    signed: bool = False
    """Texts of an object with a `signature` are thinking that must stay to the letter."""

    def __repr__(self) -> str:
        return f"Shape({self.rule.name}, {', '.join(self.fields)})"


ANY: Final = Shape()
"""Whatever a client says in its own words."""
TEXT: Final = ANY
SAID: Final = Shape(Rule.SAID)
CALL: Final = Shape(Rule.CALL, numbers=True)
ID: Final = Shape(Rule.ID)
KEY: Final = Shape(Rule.KEY)
OPAQUE: Final = Shape(Rule.OPAQUE)
THOUGHT: Final = Shape(Rule.THOUGHT)
IMAGE: Final = Shape(Rule.IMAGE)
FILE: Final = Shape(Rule.FILE)
IMAGE_ID: Final = Shape(Rule.IMAGE_ID)
FILE_ID: Final = Shape(Rule.FILE_ID)
SKIP: Final = Shape(Rule.SKIP)
CREDENTIAL: Final = Shape(Rule.CREDENTIAL)
CREDENTIALS: Final = Shape(Rule.CREDENTIAL, rest=CREDENTIAL)
"""Headers."""
TOOL: Final = Shape(Rule.SAID, fields={"INVALID_JSON": CALL}, numbers=True)
"""What tools are given, as JSON. `INVALID_JSON` is Anthropic's name for arguments that could not
be read as such."""


def obj(ids: str = "", rule: Rule = Rule.TEXT, /, **fields: Shape) -> Shape:
    """An object. `ids`: names of its fields that are structure, with spaces between."""
    return Shape(rule, dict.fromkeys(ids.split(), ID) | fields)


def grown(shape: Shape, ids: str = "", rule: Rule | None = None, /, **fields: Shape) -> Shape:
    """The shape with more fields, and perhaps another rule for strings."""
    more = dict.fromkeys(ids.split(), ID) | fields
    rule = shape.rule if rule is None else rule
    return replace(shape, rule=rule, fields={**shape.fields, **more})


def fill(shape: Shape, **fields: Shape) -> None:
    """Put fields into a shape that is part of itself, while its module is read."""
    assert isinstance(shape.fields, dict)  # noqa: S101 - made by `obj`
    shape.fields.update(fields)


# --- what all formats have in common ------------------------------------------------------

CACHE: Final = obj("type ttl mode")
"""`cache_control`, `prompt_cache_breakpoint` and the like."""

_STRUCTURE: Final = (
    "type format $ref $id $schema $anchor $dynamicRef $dynamicAnchor contentEncoding "
    "contentMediaType"
)
SCHEMA: Final = obj(
    _STRUCTURE, required=KEY, default=TOOL, const=TOOL, enum=TOOL, example=TOOL, examples=TOOL
)
"""A JSON schema (draft 2020-12, and what came before). Names of properties are the client's own."""
NAMED_SCHEMAS: Final = Shape(rest=SCHEMA)
fill(
    SCHEMA,
    **dict.fromkeys(
        ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"),
        NAMED_SCHEMAS,
    ),
    **dict.fromkeys(
        [
            "items",
            "prefixItems",
            "additionalItems",
            "additionalProperties",
            "unevaluatedItems",
            "contains",
            "unevaluatedProperties",
            "propertyNames",
            "anyOf",
            "allOf",
            "oneOf",
            "not",
            "if",
            "then",
            "else",
            "contentSchema",
        ],
        SCHEMA,
    ),
    dependentRequired=Shape(rest=ID),
)


# --- names --------------------------------------------------------------------------------

_LONGEST_ID: Final = 128
_LONGEST_NAME: Final = 40
# Neither may be made of digits: five of them are no telephone number.
_PLAIN: Final = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z]|(?:[^0-9]*[0-9]){0,5}[^0-9]*\Z)[A-Za-z0-9_.:/#$-]+"
)
_NAME: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){6})[A-Za-z_][A-Za-z0-9_-]*")


def is_structure(value: str) -> bool:
    """A string can be structure: it is empty, or a plain identifier. An address, a telephone
    number or a sentence is none."""
    if len(value) > _LONGEST_ID:
        return False
    return not value or _PLAIN.fullmatch(value) is not None


def is_name(key: str) -> bool:
    """A key of a client's object says nothing but what stands under it: it may be shown."""
    if len(key) > _LONGEST_NAME:
        return False
    return (key.isalpha() and key.isascii()) or _NAME.fullmatch(key) is not None
