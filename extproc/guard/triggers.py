"""Which of the words that what is sought cannot do without are in a text: one pass for all.

A text without `geb`, `born` or the like holds no date of birth, one without `pass` or `key` no
password: where none is, what would look for it need not run.
"""

from __future__ import annotations

from typing import Any, Final

import re2

from extproc.guard.normal import Folding

BIRTHS: Final = (
    "birth", "born", "dob", "d.o.b", "b. ", "geb", "né", "nee", "naci", "nasci", "nasce", "nacque",
    "nato il",
    "nata il", "nato a", "nata a", "naissance", "geboorte", "født", "född", "urodz", "рожд",
    "родил", "生",
)  # fmt: skip
"""One is in the words that tell a date of birth."""
SMALL_NAMES: Final = {
    "name is": 0, "name's": 0, "name:": 0, "name :": 0, "call me": 0, "calls me": 0,
    " mr": 1, " ms ": 1, " ms.": 1, " dr ": 1, " dr.": 1, " prof": 1,
    "\nmr": 1, "\nms ": 1, "\nms.": 1, "\ndr ": 1, "\ndr.": 1, "\nprof": 1,
    "appelle": -2, "llamo": -3, "chiamo": -3, "heiße": 0, "heisse": 0,
}  # fmt: skip
"""One stands in front of a name in lower case, with what begins so far from its first character."""
HAN_NAMES: Final = ("我叫", "的名字", "名字叫", "姓名", "氏名", "名前は", "私は")
"""One is in front of a name in Chinese or Japanese."""
SECRETS: Final = (
    "pass", "pwd", "secret", "token", "key", "credential", "auth", "sig=", "kennwort", "contrase",
    "mot de passe", "密码",
)  # fmt: skip
"""What every name of a secret holds."""
COMMANDS: Final = (" -u", "--user", "sshpass", "identified by")
"""How commands are given a password."""
BOOKLETS: Final = ("ausweis", "id card", "identity", "perso", "reisepass", "passport")
"""Words beside numbers of German identity cards, most of whose characters may be letters."""
TORN: Final = ("@ ", " @", "at)", "at]", "at }", "at )", "at ]", "at}", "at>")
"""How an address's @ is hidden, or torn from what it ties."""
BOXES: Final = ("box", "postfach", "postbus", "apartado", "casella", "boite", "boîte", "postboks")
"""A post box's word."""

_PAPERS: Final = (
    "pass", "licen", "driv", "führer", "fahrerl", "permis", "patente", "dvla", "dmv",
    "acc", "konto", "saving", "checking", "carnet", "ausweis", "ident", "perso",
    "id card", "паспорт", "护照", "護照", "驾", "账", "口座", "여권", "パスポート",
    "運転", "पासपोर्ट",
    "dl",
)  # fmt: skip
"""One of these is in every text that speaks of passports, licences or accounts."""
PAPERS: Final = tuple(Folding().fold(one).lower for one in _PAPERS)
"""The same as they are in a folded text."""

_ALL: Final = tuple(
    dict.fromkeys(
        (
            *BIRTHS,
            *SMALL_NAMES,
            *HAN_NAMES,
            *SECRETS,
            *COMMANDS,
            *BOOKLETS,
            *TORN,
            *BOXES,
            *PAPERS,
        )
    )
)
EVERY: Final = frozenset(_ALL)
LONGEST: Final = max(map(len, _ALL))
"""Characters."""
_MEMORY: Final = 16 << 20
"""Bytes that the automaton may take; it begins anew when they are full."""


def _compiled() -> Any:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = _MEMORY
    options.literal = True
    found = re2.Set.SearchSet(options)
    for one in (*_ALL, ""):
        found.Add(one)
    found.Compile()
    return found


_SET: Final[Any] = _compiled()


def triggers(lower: str) -> frozenset[str]:
    """Those that are in a text in lower case; linear in its length."""
    found = _SET.Match(lower.encode("utf-8", "replace"))
    if found is None:  # Nothing is in every text: the automaton has no room. Then look for all.
        return EVERY
    return frozenset([_ALL[one] for one in found if one < len(_ALL)])
