"""Whose a request is, where something of it is kept for that one alone.

Names as they were said: an attribution is cut and cleaned, and so may be two users'. What is so
long that it may have been cut names nobody.
"""

from __future__ import annotations

import json
from typing import Final

from extproc import headers as h
from extproc.dialects import ClientRequest
from extproc.filters.admission import Asked
from extproc.identity.values import MOST_CHARACTERS
from extproc.records import NOBODY

_SAID: Final = (h.USER, h.SESSION, h.HELICONE_USER)


def owner(asked: Asked, read: ClientRequest) -> str:
    """Its caller and its user."""
    caller, said = asked.caller or NOBODY, asked.attribution
    headers = [asked.headers.get(name) for name in _SAID]
    return json.dumps((caller.source, caller.tenant, caller.key, said.user, read.user, *headers))


def user_of(asked: Asked, read: ClientRequest) -> str | None:
    """Its user, whom no other caller's user can be mistaken for; None: nobody is named."""
    caller, user = asked.caller or NOBODY, asked.attribution.user
    if not user or len(user) >= MOST_CHARACTERS:
        return None
    said = (asked.headers.get(h.USER), asked.headers.get(h.HELICONE_USER))
    return json.dumps((caller.source, caller.key, user, read.user, *said))


def session_of(asked: Asked) -> str | None:
    """The name of its session; None: it is of none."""
    said = asked.attribution
    if not said.session or max(len(said.session), len(said.user or "")) >= MOST_CHARACTERS:
        return None
    return said.session
