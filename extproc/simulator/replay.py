"""Replays recordings of real providers: VCR.py cassettes and go-vcr (version 2) cassettes.

A request is matched by path and body; failing that it gets the next recording for that path
that was not played yet.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

_HOP_BY_HOP = {
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "keep-alive",
    "set-cookie",
    "transfer-encoding",
}
_EVENT_END = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")


class Recording(msgspec.Struct, kw_only=True):
    """One recorded exchange. `frames` is the body: its events if it is a stream, else one."""

    source: str
    method: str
    path: str
    asked: bytes
    status: int
    headers: list[tuple[str, str]]
    frames: list[bytes]
    stream: bool
    played: int = 0


class Library:
    """The recordings of a folder, files in order of name."""

    def __init__(self, recordings: list[Recording]) -> None:
        self._by_path: dict[tuple[str, str], list[Recording]] = {}
        for one in recordings:
            self._by_path.setdefault((one.method, one.path), []).append(one)

    def __len__(self) -> int:
        return sum(map(len, self._by_path.values()))

    def find(self, method: str, path: str, body: bytes) -> Recording | None:
        """The recording to play, or None when the path was never recorded."""
        recordings = self._by_path.get((method, path), [])
        asked = canonical(body)
        same = [one for one in recordings if one.asked == asked]
        fresh = [one for one in same or recordings if not one.played]
        chosen = fresh or same
        if not chosen:
            return None
        chosen[0].played += 1
        return chosen[0]


def canonical(body: bytes | str | None) -> bytes:
    """The body with keys sorted if it is JSON, so that layout does not matter."""
    raw = body.encode() if isinstance(body, str) else body or b""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw
    return msgspec.json.encode(value, order="sorted")


def load(folder: Path) -> Library:
    """Read every cassette below the folder. Raises ValueError naming the file that is none, and
    FileNotFoundError if there is no such folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    recordings: list[Recording] = []
    for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
        recordings += read(path, str(path.relative_to(folder)))
    return Library(recordings)


def read(path: Path, source: str) -> list[Recording]:
    """Read one cassette. Raises ValueError if it is none."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - an optional dependency, and slow to import
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        document = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("interactions"), list):
        raise ValueError(f"{path}: no cassette (it has no 'interactions')")  # noqa: TRY004
    return list(_recordings(document["interactions"], source))


def _recordings(interactions: list[Any], source: str) -> Iterator[Recording]:
    for n, one in enumerate(interactions):
        request, response = one["request"], one["response"]
        headers = _headers(response.get("headers") or {})
        body = _body(response)
        kind = dict(headers).get("content-type", "")
        stream = kind.startswith("text/event-stream")
        status = response.get("status")
        code = response.get("code", status.get("code") if isinstance(status, dict) else status)
        yield Recording(
            source=f"{source}#{n}",
            method=request["method"],
            path=urlsplit(request.get("uri") or request["url"]).path,
            asked=_asked(request),
            status=int(code),
            headers=headers,
            frames=[part for part in _EVENT_END.split(body) if part] if stream else [body],
            stream=stream,
        )


def _headers(recorded: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, values in recorded.items():
        if name.lower() in _HOP_BY_HOP:
            continue
        found += [
            (name.lower(), " ".join(str(value).split()))
            for value in (values if isinstance(values, list) else [values])
        ]
    return found


def _asked(request: dict[str, Any]) -> bytes:
    if "parsed_body" in request:
        return canonical(msgspec.json.encode(request["parsed_body"]))
    return canonical(_bytes(request.get("body")))


def _body(response: dict[str, Any]) -> bytes:
    if "parsed_body" in response:
        return msgspec.json.encode(response["parsed_body"])
    return _bytes(response.get("body"))


def _bytes(body: Any) -> bytes:
    if isinstance(body, dict):
        if "base64_string" in body:
            try:
                return base64.b64decode(body["base64_string"])
            except binascii.Error as error:
                raise ValueError(f"a body is no base64: {error}") from None
        body = body.get("string")
    if body is None:
        return b""
    return body if isinstance(body, bytes) else str(body).encode()
