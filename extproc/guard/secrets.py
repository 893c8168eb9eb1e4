# ruff: noqa: E501, RUF001 - the forms of keys read best unbroken; quotation marks of all kinds
"""Keys, tokens and passwords: by the prefixes that issuers give them, by the names in front of
them, and by their disorder where the words around speak of a secret."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import string
from collections import Counter
from collections.abc import Iterator
from typing import Final

from extproc.guard import Finding
from extproc.guard.context import Context
from extproc.guard.normal import Normal, classes
from extproc.guard.triggers import COMMANDS, SECRETS

_CLASSES: Final = classes({string.ascii_letters + string.digits + "_-.=/+~%:": "a"})
_LONG: Final = re.compile(b"a" * 20 + b"a*+")
"""No issued key is shorter; of the words that people write hardly one is so long."""
_PIECE: Final = 4096
"""Characters of such a word in which prefixes are looked for one by one. Keys are shorter; what is
longer is data."""

_ISSUED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?P<aws>(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9]))"
    r"|(?P<google>AIza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_])|GOCSPX-[A-Za-z0-9_\-]{20,40}|ya29\.[A-Za-z0-9_\-]{20,})"
    r"|(?P<own>tg-[0-9A-Za-z]{50}(?![0-9A-Za-z]))"
    r"|(?P<models>sk-(?:ant-|proj-|or-|svcacct-|admin-|lf-|None-)?[A-Za-z0-9_\-]{16,}|hf_[A-Za-z0-9]{30,}"
    r"|api_org_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|pplx-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{35,}"
    r"|nvapi-[A-Za-z0-9_\-]{40,}|fw_[A-Za-z0-9]{20,}|tgp_v1_[A-Za-z0-9_\-]{30,}|lsv2_(?:pt|sk)_[A-Za-z0-9_]{30,})"
    r"|(?P<code>gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|gl(?:pat|dt|rt|ptt|cbt|agent|soat|ft)-[A-Za-z0-9_\-]{20,}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_\-]{40,}|dckr_pat_[A-Za-z0-9_\-]{20,}|ATATT3[A-Za-z0-9_\-=]{20,}"
    r"|ATCTT3[A-Za-z0-9_\-=]{20,}|lin_api_[A-Za-z0-9]{30,}|ntn_[A-Za-z0-9]{30,}|PMAK-[A-Za-z0-9\-]{50,}|figd_[A-Za-z0-9_\-]{30,}"
    r"|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}(?![0-9a-f])|[ps]k\.eyJ[A-Za-z0-9_\-]{20,}\.[A-Za-z0-9_\-]{20,}"
    r"|rubygems_[0-9a-f]{40,}|cio[A-Za-z0-9]{32}(?![A-Za-z0-9]))"
    r"|(?P<talk>xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9\-]{10,}|xapp-\d-[A-Za-z0-9\-]{20,}|\d{8,10}:AA[A-Za-z0-9_\-]{32,34}(?![A-Za-z0-9_])"
    r"|[MN][A-Za-z0-9_\-]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}(?![A-Za-z0-9_]))"
    r"|(?P<money>(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{20,}|sq0(?:atp|csp|idp)-[A-Za-z0-9_\-]{20,}"
    r"|EAAA[A-Za-z0-9_\-]{56,}|access_token\$production\$[0-9a-z]{16}\$[0-9a-f]{32})"
    r"|(?P<mail>SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}|key-[0-9a-f]{32}(?![0-9a-f])|xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"
    r"|[0-9a-f]{32}-us\d{1,2}(?!\d)|re_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}|SK[0-9a-f]{32}(?![0-9a-f])|AC[0-9a-f]{32}(?![0-9a-f]))"
    r"|(?P<cloud>do[oprt]_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}(?:-\d)?|hv[sbr]\.[A-Za-z0-9_\-]{20,}|gl(?:sa|c)_[A-Za-z0-9+/=_]{30,}"
    r"|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_\-.]{30,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|AGE-SECRET-KEY-1[0-9A-Z]{58}|dp\.(?:pt|st|ct)\.[A-Za-z0-9.\-]{30,}"
    r"|[A-Za-z0-9_~\-.]{3}8Q~[A-Za-z0-9_~\-.]{31,34}|NRAK-[A-Z0-9]{27}|ops_eyJ[A-Za-z0-9_\-=+/]{100,}|v1\.0-[0-9a-f]{24}-[0-9a-f]{64,}"
    r"|fo1_[A-Za-z0-9_\-]{40,}|FlyV1 fm\d|sbp_[0-9a-f]{40}|eyJrIjoi[A-Za-z0-9+/=_\-]{40,}|cfut_[A-Za-z0-9]{30,}|(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{42,88}={0,2})"
    r")"
)
"""Prefixes and lengths as their issuers and the scanners of the large hosts of code publish them."""
_HOOK: Final = re.compile(
    r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9_/]{20,80}|discord(?:app)?\.com/api/webhooks/\d{10,20}/[A-Za-z0-9_\-]{30,90}"
)
_JWT: Final = re.compile(
    r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{2,}(?:\.[A-Za-z0-9_\-]*){1,3}"
)
_HEADER: Final = 2048
"""Characters of a token's header that are read."""

_BEGIN: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = re.compile(
    r"[^\-]{0,20000}+(?:-(?!----)[^\-]{0,200}){0,20}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
)
_BODY: Final = re.compile(r"(?:[\w\-]{1,20}: [^\n]{0,80}\n|\s|\\[nr]|[A-Za-z0-9+/=]){0,8000}+")

_COMMAND: Final = re.compile(
    r"(?:(?:curl|wget|http)\b[^\n]{0,200}?[ ](?:-u|--user)[ =][\"']?[^\s:\"']{1,64}:|sshpass[ ]{1,3}-p[ ]?[\"']?"
    r"|identified[ ]by[ ][\"'])(?P<value>[^\s\"']{4,200})",
    re.IGNORECASE,
)
"""Where commands take passwords that no name stands in front of."""
_LOGIN: Final = re.compile(r"://([^\s/:@?#\"'<>]{0,100}:[^\s/\"'<>]{1,200})(?=@[\w\[])")
_NAMED: Final = re.compile(
    r"(?:pass(?:word|wd|phrase|code|wort)?s?|pwd|kennwort|contraseña|contrasena|mot de passe|密码|secret|token|"
    r"authorization|auth|credentials?|sig|key(?:[_\- ]?id)?)"
    r"(?:[_\-]?(?:access|key|token|id|hash|value|base|prod|dev|test|live)|[_\-]?\d{1,3}){0,3}"
)
_SIGN: Final = re.compile(
    r"(?P<sign>[\"'`]?\s{0,3}(?:=>|:=|={1,3}|[:：]|(?<! )>(?! ))\s{0,3}(?:(?:bearer|basic|token)\s)?"
    r"|(?: (?:for|to|of|on|at|für|de) [\w\- ]{1,30}?)? (?:is|was|ist|es|est|lautet)(?: now| set to)?:?\s{1,2}"
    r"|[ \t])"
    r"(?P<quote>[\"'`]?)(?P<value>[^\s\"'`<>{}|]{3,400}+)"
)
_KEYS: Final = re.compile(
    r"(?:api|access|secret|private|account|auth|encryption|signing|shared|subscription|master|service|storage|admin|"
    r"server|client|consumer|license|deploy|session)[_\- ]?$"
)
_KEY_LEAD: Final = 14
"""Characters of the longest word that makes a key a secret one, and a mark."""
_NAMES_OF_PASSWORDS: Final = re.compile(r"pass|pwd|kennwort|contrase|密码")
_NOT_SECRET: Final = re.compile(
    r"(?:(?:your|my|the|some|example|changeme|change[_\-]?me|password|passwd|secret|token|placeholder|redacted)"
    r"(?:[_\-.]?[a-z]+)*[.,;:!?)\]]*$"
    r"|xxx|\*|\.\.\.|…|none\b|null\b|nil\b|true\b|false\b|undefined\b|string\b|optional\b|varchar|"
    r"process\.env|os\.|env[.(\[]|config[.\[(]|settings\.|self\.|this\.|req\.|request\.|\$|%\(|<|\[|\(|#|//)"
)
_CALL: Final = re.compile(r"^[A-Za-z_][\w.]*(?:\(|\[)")
_WORDY: Final = re.compile(r"[a-z]+(?:[_\-.][a-z]+)*[.,;:!?)\]]*")
_TRAILING: Final = ".,;:)]}"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-+/.~]{16,256}+={0,2}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DISORDER: Final = 3.3
"""Bits a character above which sixteen and more characters are hardly a word or a number."""
_HEX_DISORDER: Final = 2.8
_LOOKED_AT: Final = 64
"""Characters that are enough to tell disorder."""


def secrets(normal: Normal, context: Context, said: frozenset[str]) -> Iterator[Finding]:
    """Every secret of a text, in no order; some may lie over others.

    `said` are the triggers in it.
    """
    text = normal.text
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "://" in text:
        yield from (Finding(*one.span(1), "URL_CREDENTIALS", 0.98) for one in _LOGIN.finditer(text))
    for one in _LONG.finditer(normal.classes(_CLASSES)):
        yield from _long(normal, one.start(), one.end(), context)
    if not said.isdisjoint(COMMANDS):
        yield from (
            Finding(*one.span("value"), "PASSWORD", 0.8)
            for one in _COMMAND.finditer(text)
            if not _pretended(one["value"])
        )
    for stem in SECRETS:
        if stem in said:
            yield from _assigned(normal, stem)


def _private_keys(text: str) -> Iterator[Finding]:
    reached = 0
    for one in _BEGIN.finditer(text):
        if one.start() < reached:
            continue
        end = _END.match(text, one.end()) or _BODY.match(text, one.end())
        reached = end.end() if end is not None else one.end()
        yield Finding(one.start(), reached, "PRIVATE_KEY", 0.99)


def _long(normal: Normal, start: int, end: int, context: Context) -> Iterator[Finding]:
    text = normal.text
    last = min(end, start + _PIECE)
    for one in _ISSUED.finditer(text, start, last):
        if _disorder(one[0]) > 2.0:  # noqa: PLR2004 - a row of the same letter shows a form
            yield Finding(*_trimmed(text, one.start(), one.end()), "API_KEY", 0.97)
    if "eyJ" in text[start:last]:
        yield from _jwts(text, start, end)
    if "/" in text[start:last] and "hook" in text[start:last]:
        yield from (
            Finding(*one.span(), "API_KEY", 0.97) for one in _HOOK.finditer(text, start, last)
        )
    yield from _disordered(normal, start, last, context)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while text[end - 1] in ".-_" and end > start + 1:
        end -= 1
    return start, end


def _jwts(text: str, start: int, end: int) -> Iterator[Finding]:
    for one in _JWT.finditer(text, start, end):
        head = one[0].partition(".")[0][:_HEADER]
        try:
            found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            continue
        if isinstance(found, dict) and ("alg" in found or "typ" in found or "enc" in found):
            yield Finding(*_trimmed(text, one.start(), one.end()), "JWT", 0.99)


def _disordered(normal: Normal, start: int, end: int, context: Context) -> Iterator[Finding]:
    for one in _TOKEN.finditer(normal.text, start, end):
        value = one[0].rstrip("=.")
        if len(value) < 16 or not _random(value):  # noqa: PLR2004
            continue
        near = context.around(normal.lower, *one.span())
        named = near.get("secret", 99)
        if named < 32 and named < near.get("digest", 99) and not _UUID.fullmatch(value):  # noqa: PLR2004
            yield Finding(*one.span(), "SECRET", 0.75)


def _random(value: str) -> bool:
    value = value[:_LOOKED_AT]
    digits = sum(map(str.isdigit, value))
    letters = sum(map(str.isalpha, value))
    if digits < 2 or letters < 4 or value.count("/") > len(value) // 12:  # noqa: PLR2004
        return False
    low = value.lower()
    hexadecimal = value in {low, value.upper()} and all(one in "0123456789abcdef-" for one in low)
    return _disorder(value) > (_HEX_DISORDER if hexadecimal else _DISORDER)


def _mixed(value: str) -> bool:
    """Whether capitals stand in it as no name has them."""
    value = value[:_LOOKED_AT]
    capitals, small = sum(map(str.isupper, value)), sum(map(str.islower, value))
    return (
        len(value) >= 16  # noqa: PLR2004
        and min(capitals, small) >= len(value) // 4
        and any(map(str.isdigit, value))
        and _disorder(value) > _DISORDER
    )


def _disorder(value: str) -> float:
    """Shannon's entropy in bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def _assigned(normal: Normal, stem: str) -> Iterator[Finding]:
    """What is said to be a secret by a name that holds `stem`."""
    text, lower = normal.text, normal.lower
    at = lower.find(stem)
    while at >= 0:
        name = _NAMED.match(lower, at)
        if name is not None and _is_name(lower, at, name[0]):
            said = _SIGN.match(lower, name.end())
            if said is not None:
                yield from _valued(text, said, name[0])
        at = lower.find(stem, at + len(stem))


def _is_name(lower: str, at: int, name: str) -> bool:
    before = lower[at - 1] if at else " "
    if name.startswith("key"):
        return _KEYS.search(lower, max(0, at - _KEY_LEAD), at) is not None
    if name in {"pass", "auth", "sig"}:
        return not before.isalnum()
    return True


def _valued(text: str, said: re.Match[str], name: str) -> Iterator[Finding]:
    start, end = said.span("value")
    raw, quote = text[start:end], said["quote"]
    if not quote:
        if text[said.start() - len(name) - 1 : said.start() - len(name)] in {"?", "&"}:
            raw = raw.partition("&")[0]
        raw = re.split("[;,]", raw.rstrip(_TRAILING), maxsplit=1)[0]
    sure = _password(name, said["sign"], quote, raw)
    if sure:
        kind = "PASSWORD" if _NAMES_OF_PASSWORDS.search(name) else "SECRET"
        yield Finding(start, start + len(raw), kind, sure)


def _password(  # noqa: PLR0911 - one return a way of saying it
    name: str, sign: str, quote: str, value: str
) -> float:
    """How sure it is that what is said of a name is a secret; 0 for not."""
    if len(value) < 4 or len(set(value)) < 3 or _pretended(value):  # noqa: PLR2004
        return 0.0
    low, assigned = value.lower(), not set("=:>").isdisjoint(sign)
    password = _NAMES_OF_PASSWORDS.search(name) is not None
    wordy = _WORDY.fullmatch(low) is not None and value[1:] == low[1:]
    if not password:
        if quote and assigned and not wordy and len(value) >= 8:  # noqa: PLR2004
            return 0.7
        odd = _random(value) or _mixed(value)
        return 0.8 if assigned and len(value) >= 12 and odd else 0.0  # noqa: PLR2004
    if quote and assigned:
        return 0.85
    if wordy:
        tied = sign == "=" and len(value) >= 6 and "." not in value  # noqa: PLR2004
        return 0.6 if tied else 0.0
    digits = any(map(str.isdigit, value))
    if sign.isspace():
        return 0.55 if digits and len(value) >= 6 and not value.isdigit() else 0.0  # noqa: PLR2004
    cased = any(map(str.isupper, value[1:])) and any(map(str.islower, value))
    if digits or cased or any(not one.isalnum() for one in value[:-1]):
        return 0.9 if assigned else 0.75
    return 0.0


def _pretended(value: str) -> bool:
    """Whether it only shows where a secret belongs, or is code that gets it from somewhere."""
    return _NOT_SECRET.match(value.lower()) is not None or _CALL.search(value) is not None
