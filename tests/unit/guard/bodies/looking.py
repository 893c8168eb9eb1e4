"""Bodies as tests look at them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from extproc.guard import Text
from extproc.guard.bodies import Body, read_answer, read_request

FORMATS = ("chat", "completions", "embeddings", "responses", "messages", "count_tokens")


def request(tree: Any, format_: str) -> Body:
    return read_request(json.dumps(tree).encode(), format_)


def answer(tree: Any, format_: str) -> Body:
    return read_answer(json.dumps(tree).encode(), format_)


def places(body: Body) -> dict[str, str]:
    return {text.place: text.value for text in body.texts}


def at(body: Body, place: str) -> Text:
    (found,) = [text for text in body.texts if text.place == place]
    return found


def media(body: Body) -> list[tuple[str, str]]:
    return [(one.kind, one.place) for one in body.media]


def changed(body: Body, change: Callable[[str], str]) -> Any:
    """The body as a tree, with each text changed."""
    return json.loads(body.written([change(text.value) for text in body.texts]))


def values(body: Body) -> list[str]:
    return [text.value for text in body.texts]


def leaves(tree: Any) -> Iterator[tuple[str, str]]:
    """Every string with its place, keys of objects aside."""
    waiting = [("", tree)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            waiting += [(f"{place}.{key}".strip("."), one) for key, one in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}[{index}]", one) for index, one in enumerate(value)]
