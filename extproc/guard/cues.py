"""Words in front of a name and behind it that tell that it is one."""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from typing import Final

REACH: Final = 40
"""Characters in front of a name that are looked at."""

_SIGNS: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[:?,]")
_SKIPPED: Final = "*_>\"“”'( \t\r\n\u00a0"

TITLES: Final = frozenset(
    """mr mrs ms miss mx dr prof professor sir madam madame dame rev reverend fr father sister
    brother aunt uncle auntie grandma grandpa captain capt sgt sergeant lt lieutenant colonel
    col gen president senator judge justice officer detective nurse doctor herr frau fraulein
    monsieur mme mlle senor senora senorita sra srta signor signora signorina sig senhor senhora
    mevrouw meneer dhr mevr fru hr pan pani""".split()  # noqa: SIM905 - a list of words reads best so
)

STRONG: Final = frozenset(
    line.strip()
    for line in """
    name is; name's; name was; name :; name ?; surname :; surname is; surname ?; nombre :; nom :
    nome :; full name :; call me; calls me; called me; called him; called her; named him
    named her; i'm; i am; directed by; directed by :; regards; regards ,; sincerely; sincerely ,
    yours truly ,; signed; signed ,; signed :; dear; attn; attn :; attention :; je m'appelle
    ich heiße; ich heisse; name ist; me llamo; nombre es; mi chiamo; nome é; nome è; me chamo
    naam is; ik heet; jag heter; jeg heter; jeg hedder; меня зовут; с уважением; с уважением ,
    grüßen; grüße; cordialement; cordialement ,; saludos; saludos ,
    """.replace("\n", ";").split(";")
    if line.strip()
)
"""Behind these anything with a capital is a name, unless it is a known word."""

WEAK: Final = frozenset(
    line.strip()
    for line in """
    this is; it's; it is; called; named; nicknamed; known as; hi; hi ,; hello; hello ,; hey
    hey ,; goodbye; bye; thanks; thanks ,; thank you; thank you ,; cheers; cheers ,; love ,; to :
    from :; cc :; author :; patient; patient :; client; client :; customer; customer :; contact
    contact :; add; beneficiary; beneficiary :; written by; starring; sung by; founded by
    painted by; according to; recipient :; sender :; wife; husband; spouse; partner; mother
    father; mom; dad; mum; son; daughter; kid; child; brother; sister; uncle; aunt; cousin
    nephew; niece; friend; boss; colleague; manager; neighbor; neighbour; boyfriend; girlfriend
    fiancé; fiancée; fiance; fiancee; lawyer; landlord; tenant; employee; candidate; applicant
    said; says; asked; told; tell; met; ask; hired; emailed; married; je suis; ich bin; soy; sono
    ik ben; producer; songwriter; singer; player; author; director; and starring; have you heard
    under; change it to; correct it to; maiden name; assistant to; by :; assigned to
    assigned to :; regarding; spoke with; speak with; speak to; talk to; talked to; meeting with
    call with; interview with; letter from; email from; message from; novel by; song by; book by
    written to
    """.replace("\n", ";").split(";")
    if line.strip()
)
"""Behind these a listed name is one, even if it is a word or a place as well."""

BEHIND: Final = re.compile(
    r"""[*_"”')]*(?:,?[ ]+(?:said|says|asked|asks|told|replied|wrote|writes|thinks|lives?
      |lived|works|worked|was[ ]born|is[ ]from|called|emailed|shouted|whispered|speaks|spoke
      |began|flew|spent
      |sings|sang|had[ ]given)
     |['’]s[ ](?:wife|husband|mother|father|mom|dad|son|daughter|kid|child|brother|sister|boss
      |friend|address|phone|number|e-?mail|birthday|account|name|house|car|salary|password|song|novel))\b""",
    re.VERBOSE,
)

ORGANISATION: Final = frozenset(
    """inc ltd llc gmbh corp corporation plc holdings bros associates solutions systems
    technologies technology labs industries enterprises consulting services bank airlines motors
    records pictures studios university college school academy hospital institute foundation
    association society museum gallery library theater theatre stadium arena airport station
    bridge orchestra investments capital partners group company street st avenue ave road rd
    drive boulevard blvd lane court square highway park garden gardens zoo beach bay lake river
    mountain mountains valley island islands falls creek county province theorem equation
    principle algorithm transform distribution inequality conjecture paradox syndrome disease
    airfield pass coves union loop bypass award prize cup""".split()  # noqa: SIM905 - a list of words reads best so
)
"""Behind a name these make it the name of something else."""


_TAILS: Final = frozenset(
    cue[-1] + cue[:-1].rstrip()[-2:] if cue[-1] in ":?," else cue[-2:] for cue in (*STRONG, *WEAK)
)
"""How they end: what ends otherwise need not be taken apart."""
_LAST: Final = frozenset(
    re.findall(r"[^\W\d_]+", cue)[-1] for cue in (*STRONG, *WEAK) if cue[-1] not in ":?,"
)
"""Their last words."""
_WORD: Final = max(map(len, _LAST)) + 2
"""Characters in which one of these stands, a space in front."""
_GLANCE: Final = 8
_NEVER: Final = (False, False)


def told(text: str, start: int) -> tuple[bool, bool]:
    """Whether the words in front of `start` are a strong, and whether they are a weak sign of a
    name."""
    end = start - 1
    if end > _WORD and text[end] == " ":
        word = text[max(text.rfind(" ", end - _WORD, end) + 1, end - _WORD) : end]
        if word.isalpha() and word.lower() not in _LAST:
            return _NEVER
    near = text[start - _GLANCE if start > _GLANCE else 0 : start].rstrip(_SKIPPED).lower()
    if len(near) > 2 and (near[-1] not in ":?," and near[-2:] not in _TAILS):  # noqa: PLR2004
        return _NEVER
    before = text[max(0, start - REACH) : start].rstrip(_SKIPPED).lower()
    if not before:
        return _NEVER
    last = before[-1]
    tail = last + before[:-1].rstrip(_SKIPPED)[-2:] if last in ":?," else before[-2:]
    if tail not in _TAILS:
        return _NEVER
    signs = [sign.replace("’", "'") for sign in _SIGNS.findall(before)[-4:]]
    ends = [" ".join(signs[-size:]) for size in range(1, len(signs) + 1)]
    return not STRONG.isdisjoint(ends), not WEAK.isdisjoint(ends)
