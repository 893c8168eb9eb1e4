"""What makes two requests the same: the key of a request, and of its family.

A client's body is read into its fields; what does not shape the answer is left out, and what may be
said in several ways is brought into one. The key is SHA-256 over every field that is left, name and
value each with its length, after an HMAC of who may share the answer. A family is all that but the
text that is compared: within it, and nowhere else, one question may be answered as another was.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from extproc.cache.shapes import SHAPES, Turn
from extproc.policy import CacheScope

VERSION: Final = b"tollgate-cache-1"
"""Changes whenever the same request would get another key, so that old entries are not read."""
_EXACT_FLOATS: Final = 2.0**63
_LINE: Final = "\n"
_WITHIN: Final = "\n "
_MARK: Final = "\x00text"
"""The name of a null that stands in a family for the text that is compared. Turns of a request have
no nulls left, so no request can be mistaken for it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the cache knows it."""

    exact: bytes
    """32 bytes: the same for requests that mean the same, for those who share answers."""
    family: bytes
    """32 bytes: all that shapes the answer but `text`."""
    text: str | None = field(repr=False)
    """What is compared with other questions. None: nothing may be, for there is no text, or more
    than text."""
    items: tuple[bytes, ...] = ()
    """Embeddings: the key of each input. Equal inputs have equal keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a request comes with beside its body."""

    format: str
    """`chat`, `completions`, `embeddings`, `responses` or `messages`."""
    route: str
    scope: bytes
    """As `scope_key` gives it."""
    namespace: str | None = None
    seed: str | None = None
    """Headers that keep requests apart."""
    key: str | None = None
    """A key of the client's own."""
    replaces: bool = False
    """It takes the place of the request."""
    beside: tuple[tuple[str, str], ...] = ()
    """What else shapes the answer: headers by which a client chooses the version of an API."""


def scope_key(
    secret: bytes,
    scope: CacheScope,
    *,
    tenant: str | None,
    user: str | None = None,
    session: str | None = None,
) -> bytes | None:
    """32 bytes that stand for those who share answers, and tell nobody without the secret who they
    are. None: nobody can be told to be of that scope (a user nobody named), so nothing is shared.

    A tenant that nobody named is one of its own: a gateway for one house has no tenants.
    """
    parts: list[str | None] = [scope]
    if scope != "shared":
        parts.append(tenant)
    if scope == "user":
        if user is None:
            return None
        parts.append(user)
    if scope == "session":
        if session is None:
            return None
        # A session's name is only its user's own: another may choose the same.
        parts += (user, session)
    return hmac.digest(secret, _framed(parts), "sha256")


def fields(body: bytes) -> dict[str, Any]:
    """The fields of a body that its client format has accepted. Numbers that are the same are equal
    and of one type, however they were written: `1.0` and `1`."""
    found: dict[str, Any] = _DECODER.decode(body)
    return found


def asked(given: dict[str, Any], place: Place, *, conversation: bool = False) -> Asked:
    """The request of these fields (see `fields`), which stay as they are. Raises KeyError for a
    format that is not cached.

    conversation: all turns are compared, not the last that a user took.
    """
    shape = SHAPES[place.format]
    around = _framed(
        (
            place.format,
            place.route,
            place.namespace,
            place.seed,
            place.key,
            *(part for pair in sorted(place.beside) for part in pair),
        )
    )
    start = _framed_bytes((VERSION, place.scope, around))
    if place.replaces and place.key is not None:
        key = hashlib.sha256(start + b"own").digest()
        return Asked(key, key, None)
    left = {
        name: value
        for name, value in given.items()
        if value is not None
        and name not in shape.silent
        and not shape.is_default(name, value, given)
    }
    left = shape.canonical(left)
    if shape.items is not None:
        return _of_items(start, left, shape.items)
    rest = hashlib.sha256(start + _encoded(left, but=shape.spoken))
    turns = shape.turns(left)
    if turns is None:
        rest.update(b"whole" + _encode(left.get(shape.spoken)))
        return Asked(rest.digest(), rest.digest(), None)
    said = None
    if not shape.exact_only(left):
        said = _compared(turns, conversation=conversation)
    text, at = said or (None, ())
    first = at[0] if at else len(turns)
    rest.update(_framed_bytes(_encode(turn.whole) for turn in turns[:first]))
    if text is None:
        return Asked(rest.digest(), rest.digest(), None)
    family = rest.copy()
    for number, turn in enumerate(turns[first:], first):
        piece = _framed_bytes((_encode(turn.whole),))
        rest.update(piece)
        if number in at:
            piece = _framed_bytes((_encode({**turn.around(), _MARK: None}),))
        family.update(piece)
    return Asked(rest.digest(), family.digest(), text)


def _compared(turns: list[Turn], *, conversation: bool) -> tuple[str, list[int]] | None:
    """The text that is compared, and the turns it stands in. None: there is none, or one of those
    turns holds more than text."""
    spoken = [n for n, turn in enumerate(turns) if turn.speaks]
    users = [n for n in spoken if turns[n].role == "user"]
    if not users:
        return None
    at = spoken if conversation else users[-1:]
    found: list[str] = []
    for n in at:
        text = turns[n].text
        if text is None:
            return None
        # Only a turn begins a line without a space: nobody can put words into another's mouth.
        found.append(f"{turns[n].role}: {text.replace(_LINE, _WITHIN)}" if len(at) > 1 else text)
    if not any(turns[n].text and str(turns[n].text).strip() for n in at):
        return None
    return "\n".join(found), at


def _of_items(start: bytes, left: dict[str, Any], name: str) -> Asked:
    """A request whose answer has a part for each input, which stand for themselves."""
    given = left.get(name)
    # A list of numbers is one input, as tokens.
    several = isinstance(given, list) and not any(isinstance(one, int) for one in given)
    inputs = given if several and isinstance(given, list) else [given]
    head = start + _encoded(left, but=name)
    items = tuple(hashlib.sha256(b"item" + head + _encode(one)).digest() for one in inputs)
    exact = hashlib.sha256(b"items" + head + b"".join(items)).digest()
    return Asked(exact, hashlib.sha256(b"family" + head).digest(), None, items)


# --- one way to write it ------------------------------------------------------------------


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOATS else value


_DECODER: Final = msgspec.json.Decoder(dict[str, Any], float_hook=_number)
_encode: Final = msgspec.json.Encoder(order="sorted").encode
"""Names sorted at every depth, no white space, each text written one way."""


def _encoded(given: dict[str, Any], *, but: str) -> bytes:
    parts: list[bytes] = []
    for name in sorted(given):
        if name != but:
            parts += (name.encode("utf-8", "surrogatepass"), _encode(given[name]))
    return b"%d;%b" % (len(parts), _framed_bytes(parts))


def _framed(parts: Iterable[str | None]) -> bytes:
    """Parts with their lengths, so that no two lists of parts are written alike."""
    return b"".join(
        b"-;"
        if one is None
        else b"%d:%b;" % (len(raw := one.encode("utf-8", "surrogatepass")), raw)
        for one in parts
    )


def _framed_bytes(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"%d:%b;" % (len(one), one) for one in parts)
