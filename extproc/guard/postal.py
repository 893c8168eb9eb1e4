"""Postal addresses: a house number beside the name of a street, and what follows on its lines.

Streets are told by their word (`Road`, `-straße`, `Rue`, `ulica`), by a unit behind them (`Apt.
12`, `Suite 3`), by the form of post boxes, or by words in front (`lives at`, `my address is`).
"""

# ruff: noqa: RUF001 - signs and words of many scripts

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import repeat
from typing import Final

from extproc.guard import Finding
from extproc.guard.triggers import BOXES, triggers

FORM: Final = 0.85
"""A street's word and a number, or a box."""
UNIT: Final = 0.8
TOLD: Final = 0.65
"""Only the words in front say that it is an address."""

_UPPER: Final = "".join(sign for sign in map(chr, range(0x530)) if sign.isupper())
_NO_STREET: Final = r"(?!(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Room|Box)\b)"
_LETTERS: Final = r"[a-z]*+[^\W\d_]*+"
"""(A range of ASCII is several times as fast as a class.)"""
_CAP: Final = rf"(?=[{_UPPER}]){_NO_STREET}.{_LETTERS}(?:['’.\-][^\W\d_]++)*+"
_JOIN: Final = (
    r"(?:de|del|della|du|des|do|da|dos|das|la|las|le|les|los|el|di|dei|of|the|and|y|van|von|der"
    r"|den|al)"
)
_JOINS: Final = frozenset(_JOIN.removeprefix("(?:").removesuffix(")").split("|"))
_WORDS: Final = rf"(?:{_JOIN}[ ]){{0,2}}{_CAP}(?:[ ](?:{_JOIN}[ ]){{0,3}}{_CAP}){{0,3}}"
_NUMBER: Final = r"\d{1,6}(?:[-/]\d{1,5})?[A-Za-z]?"
_ENGLISH: Final = (
    r"(?:[Ss]treet|[Ss]t|[Aa]venue|[Aa]ve?|[Rr]oad|[Rr]d|[Bb]oulevard|[Bb]lvd|[Ll]ane|[Ll]n"
    r"|[Dd]rive|[Dd]r"
    r"|[Cc]ourt|[Cc]t|[Pp]lace|[Pp]l|[Ss]quare|[Ss]q|[Tt]errace|[Tt]er|[Ww]ay|[Hh]ighway|[Hh]wy"
    r"|[Pp]arkway|[Pp]kwy|[Cc]ircle|[Cc]ir|[Tt]rail|[Tt]rl|[Cc]lose|[Cc]rescent|[Cc]res|[Gg]ardens"
    r"|[Gg]rove|[Mm]ews|[Rr]ow|[Ww]alk|[Aa]lley|[Pp]laza|[Qq]uay|[Ee]splanade|[Tt]urnpike|[Pp]ike"
    r"|[Ll]oop|[Rr]un|[Mm]arg|[Nn]agar|[Gg]anj|[Cc]howk|[Zz]ila|[Ss]alai|[Gg]ali|[Pp]arade|[Pp]ath"
    r"|[Cc]rossroads?|[Cc]auseway|[Ff]reeway|[Ee]xpressway|[Bb]ypass|[Pp]romenade|[Ww]harf|[Ee]nclave)"
)
_RARE: Final = (
    r"(?:Bayou|Beach|Bend|Bluffs?|Bottom|Branch|Bridge|Brooks?|Burgs?|Camp|Canyon|Cape|Centers?"
    r"|Cliffs?|Club|Commons?|Corners?|Courts|Coves?|Creek|Crest|Crossing|Cross|Curve|Dale|Dam"
    r"|Divide|Circuit|Corso|Concourse|Approach|Arcade|Frontage|Retreat|Riverway|Strand|Vale|Nook|Drives|End|Estates?|Extensions?|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?"
    r"|Forks?|Fort|Gap|Garden|Gateway|Glens?|Grange|Greens?|Harbors?|Haven|Heights|Hills?|Hollow"
    r"|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Land|Landing|Locks?|Lodge|Mall|Manors?"
    r"|Meadows?|Mews|Mills?|Mission|Mountains?|Mount|Neck|Orchard|Oval|Overpass|Parks?|Passage|Pass"
    r"|Pines?|Plains?|Points?|Ports?|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|Rise|River"
    r"|Roads|Route|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares|Station|Stravenue|Stream|Streets"
    r"|Summit|Throughway|Trace|Track|Trafficway|Trails|Tunnel|Underpass|Unions?|Valleys?|Viaduct"
    r"|Views?|Villages?|Ville|Vista|Walks|Walls?|Ways|Wells?)"
    r"(?=[ ]?(?:[,;:.\"'”<\n)\]|}]|$|(?:to|and|between|with|from)[ ]))"
)
"""Words of streets that are words of much else (USPS Publication 28, C1): only at an end."""
_BEFORE_NAME: Final = (
    r"(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Bb]d|[Cc]hemin|[Aa]ll[ée]e|[Ii]mpasse|[Qq]uai|[Rr]oute"
    r"|[Cc]ours"
    r"|[Vv]ia|[Vv]iale|[Pp]iazza|[Pp]iazzale|[Cc]orso|[Vv]icolo|[Ll]argo|[Cc]alle|[Aa]venida"
    r"|[Aa]vda\.?|[Aa]v\."
    r"|[Pp]laza|[Rr]onda|[Rr]ambla|[Cc]allej[oó]n|[Vv]ial|[Pp]asaje|[Gg]lorieta|[Tt]raves[ií]a"
    r"|[Cc]uesta|[Pp]erif[ée]rico|[Pp]rolongaci[oó]n|[Vv]iaducto|[Cc]ircuito|[Cc]alzada|[Pp]rivada"
    r"|[Aa]ndador|[Dd]iagonal|[Cc]ontrada|[Ll]ocalità|[Bb]orgo|[Ss]tretto|[Rr]otonda|[Ii]ncrocio"
    r"|[Aa]lameda|[Vv]ereda|[Ee]splanada|[Ll]adeira|[Rr]ecanto|[Ss]etor|[Rr]\.|[Pp]lac|[Pp]l\."
    r"|[Aa]leea|[Ii]ntrarea|[Șș]oseaua|[Pp]lace|[Ss]quare|[Pp]assage|[Ss]entier|[Rr]uelle"
    r"|[Pp]aseo|[Cc]arrer|[Cc]tra\.?|[Cc]amino|[Rr]ua|[Tt]ravessa|[Pp]raça|[Ee]strada|[Rr]odovia"
    r"|[Uu]l\.?|[Uu]lica"
    r"|[Aa]leja|[Aa]l\.|[Oo]s\.|[Ss]trada|[Cc]alea|[Bb]ulevardul|[Ll]ange|[Aa]m|[Aa]n der|[Ii]m"
    r"|[Zz]um|[Zz]ur"
    r"|[Уу]лица|[Уу]л\.|[Пп]роспект|[Пп]р\.)"
)
_GRAFTED: Final = (
    rf"[{_UPPER}][^\W\d_]*(?:[-][^\W\d_]+)*(?:straße|strasse|str\.|gasse|weg|platz|allee|ufer|damm"
    rf"|gatan|vägen"
    r"|gränd|gade|vej|plads|gata|veien|vegen|gaten|katu|tie|kuja|polku|straat|laan|plein|gracht"
    r"|kade|dijk|steeg"
    r"|stræti|stræde|vangur|byen|toften|parken|haven|bakken|markt|steig|stieg|chaussee|promenade"
    r"|boulevard|bulevardi|holtet|tunet|faret|toppen|gropa|svingen|kroken|veg|singel|pad|baan|hof"
    r"|wall|graben|stræde|stredet|torget|torg|backen|stigen|leden"
    r"|-(?:Stra(?:ß|ss)e|Str\.|Gasse|Weg|Platz|Allee|Ufer|Damm|Ring|Promenade))"
)
_OWN_WORD: Final = (
    r"(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.?|[Gg]asse|[Ww]eg|[Pp]latz|[Aa]llee|[Rr]ing|[Uu]tca|[Uu]\."
    r"|[Úú]t(?:ja)?|[Tt]ér"
    r"|[Kk]örút|[Rr]kp\.?|[Kk]apu|[Ss]okak|[Cc]addesi|[Cc]d\.|[Ss]k\.|[Tt]err?asse|[Gg]ate|[Vv]ei"
    r"|[Vv]eg|[Pp]lass|[Tt]rg|[Kk]atu|[Uu]lice|[Tt]řída"
    r"|[Nn]áměstí|[Bb]undesstrasse|[Ss]tr)"
)
_UNIT: Final = (
    r"(?:[Aa]pt|[Aa]partment|[Ss]uite|[Ss]te|[Uu]nit|[Ff]lat|[Ff]loor|[Rr]oom|[Pp]iso|[Ww]ohnung"
    r"|[Aa]ppt)"
    r"\.?[ ]?(?:no\.?[ ]?|#[ ]?)?\d{1,5}[A-Za-z]?"
)
_BREAK: Final = (
    r"(?>[ \t]{0,3},?[ \t]{0,4}(?:\n[ \t]{0,6}(?:[>?#|*]{1,3}[ ])?){0,2}[ \t]{0,8},?[ ]{0,2})"
)
"""Between two lines of an address, quoted or not."""
_CODE: Final = (
    r"(?:[A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2}|[A-Z]\d[A-Z][ ]\d[A-Z]\d|[A-Z]{2}[ ]\d{5}(?:-\d{4})?"
    r"|\d{4}[ ][A-Z]{2}"
    r"|\d{3}[ ]\d{2}|\d{2}-\d{3}|\d{4,6}(?:-\d{3,4})?)\b"
)
"""Post codes."""
_HARD_BREAK: Final = (
    r"(?:[ \t]{0,3},[ \t]{0,4}(?:\n[ \t]{0,6}(?:[>?#|*]{1,3}[ ])?)?[ \t]{0,8}"
    r"|[ \t]{0,3}(?:\n[ \t]{0,6}(?:[>?#|*]{1,3}[ ])?){1,2}[ \t]{0,8}(?:,[ ]{0,2})?)"
)
"""A comma or the end of a line: so that there is one way only to take the lines apart."""
_TOWN: Final = (
    rf"(?:{_CAP}|\([^()\n]{{1,24}}\)|nan|\d\d)"
    rf"(?:[ ](?:{_JOIN}[ ])?(?:{_CAP}|\([^()\n]{{1,24}}\))){{0,3}}"
)
_TAIL: Final = re.compile(
    rf"{_BREAK}(?<![^\s,])(?:{_UNIT}\b"
    rf"|{_CODE}(?:[ ]{_CAP}){{0,2}}"
    rf"|{_TOWN}(?:{_HARD_BREAK}{_TOWN}){{0,2}}{_BREAK}(?<![^\s,]){_CODE})"
)
_UNIT_HINT: Final = re.compile(
    r"[ \n](?:[Aa]p|[Ss]ui|[Ss]te|[Uu]ni|[Ff]l[ao]|[Rr]oo|[Pp]is|[Ww]oh)"
)
_NEXT_WORD: Final = re.compile(r"[^ ,]{1,12},?[ ](?:[0-9][^ ]{0,8}[ ])?(\w+)")
_STREET_ENDINGS: Final = tuple(
    """straße strasse str gasse weg platz allee ufer damm gatan vägen gränd gade vej plads gata
    veien vegen gaten katu tie kuja polku straat laan plein gracht kade dijk steeg stræti stræde
    vangur byen toften parken haven bakken markt steig stieg chaussee promenade boulevard bulevardi
    holtet tunet faret toppen gropa svingen kroken veg singel pad baan hof wall graben stredet
    torget torg backen stigen leden -ring""".split()  # noqa: SIM905 - words
)
_STREET_WORDS: Final = frozenset(
    """rue avenue boulevard bd chemin allée allee impasse quai route cours via viale piazza
    piazzale corso vicolo largo calle avenida avda av paseo carrer ctra camino rua travessa
    praça estrada rodovia ul ulica aleja al os strada calea bulevardul lange am an im zum zur
    улица ул проспект пр ring utca u út útja tér körút rkp kapu sokak caddesi cd sk terasse
    plaza ronda rambla callejón callejon vial pasaje glorieta travesía travesia cuesta periférico
    periferico prolongación prolongacion viaducto circuito calzada privada andador diagonal contrada
    località borgo stretto rotonda incrocio alameda vereda esplanada ladeira recanto setor r plac pl
    aleea intrarea șoseaua place square passage sentier ruelle
    terrasse gate vei veg plass trg ulice třída náměstí bundesstrasse""".split()  # noqa: SIM905 - a list of words reads best so
)
_SMALL_WORDS: Final = frozenset(
    """rue avenue boulevard bd chemin allée allee impasse quai ruelle sentier viale piazza piazzale
    corso vicolo largo calle avenida avda paseo carrer plaza ronda rambla pasaje callejón rua
    travessa praça estrada rodovia alameda ul ulica plac pl aleja utca útja strada bulevardul aleea
    улица ул проспект""".split()  # noqa: SIM905 - a list of words reads best so
)
"""Those that begin a street's name in lower case, and are words of no other language."""
_LONGEST_NUMBER: Final = 16
_LINES: Final = 3
"""Parts that follow a street: a unit, a place with its post code, a country."""
_AFTER_NUMBER: Final = re.compile(
    rf"(?:{_NUMBER}[ ])?{_NUMBER},?[ ](?:"
    rf"(?:[NSEW]\.?[ ]|\d{{1,3}}(?:st|nd|rd|th)[ ])?(?:{_CAP}[ ]){{1,4}}{_ENGLISH}\b\.?"
    rf"|(?:[NSEW]\.?[ ])?\d{{1,3}}(?:st|nd|rd|th)[ ]{_ENGLISH}\b\.?"
    rf"|(?:bis[ ]|ter[ ])?{_BEFORE_NAME}[ ]{_WORDS}(?:[ ]\d{{1,5}})?"
    rf"|{_GRAFTED}[ ]{_NUMBER}"
    rf"|(?:{_CAP}[ ]){{1,3}}{_OWN_WORD}[ ]{_NUMBER}"
    rf"|(?:{_CAP}[ ]){{1,3}}(?P<rare>{_RARE})"
    rf")(?!\w)\.?"
)
"""A street behind its number; the street words that are told from there."""
_AROUND_NUMBER: Final = re.compile(
    rf"(?:{_BEFORE_NAME}[ ]{_WORDS},?[ ](?:[Nn](?:[°º.]|[ro]\.?|úm\.?)?[ ]?)?{_NUMBER}"
    rf"|{_GRAFTED}[ ]{_NUMBER}"
    rf"|(?:{_CAP}[ ](?:[^\W\d_]+[ ])?){{1,3}}{_OWN_WORD}[ ]{_NUMBER})(?!\w)\.?"
)
"""A street before its number."""
_BOX: Final = re.compile(
    r"(?:(?:PSC|psc|Unit|unit|UNIT|CMR|cmr)[ ]\d{1,5},?[ ](?:[Bb]ox|BOX)[ ]\d{1,5}"
    r"(?:\s{1,3}(?:[ADFadf][Pp][Oo])[ ](?:A[AEP]|a[aep])(?:[ ]\d{5})?)?"
    r"|(?:P\.?[ ]?O\.?[ ]?Box|p\.?o\.? box|PO BOX|Postfach|Postboks|Postbus|Apartado"
    r"|Casella postale|Bo[îi]te postale)[ ]\d{1,6}\b)"
)
_BOX_HINT: Final = re.compile(r"[BbPA](?:ox|OX|ostfach|ost?b|partado|asella|o[iî]te)")
_BOX_LEAD: Final = 16
_BOX_REST: Final = 40
"""Characters of a box around its word: `Unit 12345, Box 1234` and a place of the military."""
_WORD_BEHIND: Final = re.compile(r",?[ ](?:[0-9]{1,6}[^ ]{0,6}[ ])?[^\W\d_]")
_MILITARY: Final = re.compile(r"\b[A-Z]{3,5}[ ][A-Z][^\W\d_]+,?\s{1,3}[ADF]PO[ ]A[AEP][ ]\d{5}\b")
_FIELD_POST: Final = re.compile(r"PO A[AEP] \d{5}\b")
_WITH_UNIT: Final = re.compile(
    rf"(?:{_NUMBER}[ ])?(?:{_NUMBER}[ ])?{_WORDS}(?:[ ]{_NUMBER})?\.?(?:[ ]{_CAP}){{0,2}}"
    rf",?\s{{1,3}}{_UNIT}\b"
)
_PLACE: Final = re.compile(
    rf"(?:(?:{_NUMBER}[ ]){{1,2}}{_WORDS}(?:[ ]{_NUMBER})?\.?|{_WORDS}[ ]{_NUMBER}\.?)(?!\w)"
)
_LOWER_FORM: Final = re.compile(
    r"\d{1,6}[ ](?:[^\W\d_]{2,20}[ ]){1,3}(?:street|avenue|road|boulevard|blvd|lane|drive|court"
    r"|square)\b"
    r"(?:,?[ ](?:apt|suite|unit)\.?[ ]\d{1,5})?"
)
_NUMBERS: Final = re.compile(
    r"[0-9](?<![\w$€£#][0-9])(?<![0-9][.,:\-/][0-9])[0-9]{0,5}(?:[-/][0-9]{1,5})?[A-Za-z]?(?!\w)"
)
"""A number that could be a house's. (A class in front is fast to look for.)"""
_WORDS_BACK: Final = re.compile(rf"(?:{_JOIN}|{_CAP}\.?|[^\W\d_]{{1,6}}\.)")
_OPENING: Final = "\"'“„(<>=:/|[,\t"
"""What may stand right in front of a street's name."""
_REACH: Final = 64
"""Characters in front of a number in which a street's name begins, or words say `address`."""
_MOST_WORDS: Final = 6
_CUES: Final = re.compile(
    r"(?:\baddress(?:es)?\b[^\n.?!]{0,40}?(?:\bis|\bto|[:?]|\bit['’]?s|\bwith"
    r"|\bthe[ ]same:)(?:[ ]it[ ]is)?"
    r"(?:[ ]the[ ]following[:?])?"
    r"|\b(?:live[sd]?|living|resid(?:e[sd]?|ing)|located|situated|arrived|meet(?:[ ](?:me|us"
    r"|you))?|stay(?:s|ed|ing)?"
    r"|(?:office|restaurant|house|station|bar|shop|store)s?[ ](?:is|are)|deliver(?:ed)?(?:[ ]it)?"
    r"|drops?[ ](?:you|me)[ ]off"
    r"|visit[ ](?:me|us)|enter)[ ](?:at|in|on|to)|\b(?:sent|send|ship|shipped|mail|delivered"
    r"|deliver|return|taxi|moved?)"
    r"(?:[ ](?:it|one|them|me|this))?[ ]to|\bcorner[ ]of|\bside[ ]of"
    r"|\bstop[ ]at|\bwohn(?:e|t|haft)(?:[ ]in(?:[ ]de[rmn])?)?|\bhabite(?:[ ](?:au|à))?"
    r"|\bdemeurant(?:[ ]au)?|\bviv[oe][ ]en|\babit[oa][ ]in|\bmoro[ ](?:na|no|em)"
    r"|\bmieszkam[ ](?:przy|na)|\bbor[ ](?:på|i)|\bwoon[ ]op|\badres[ ]is"
    r"|\b(?:address|street|adress?[ea]?|anschrift|stra(?:ß|ss)e|indirizzo|direcci[oó]n|domicilio"
    r"|endere[cç]o|morada)(?:_?line_?\d?|[ _]?\d)?[\"'”]?[ ]?[:=>]+[ ]?[\"'“]?"
    r")[:]?[ ]{0,3}\n{0,2}[ ]{0,4}$"
)
_CUE_LAST: Final = frozenset(
    """is to its it's it’s with same following at in on of wohne wohnt wohnhaft der dem den habite
    au à demeurant en na no em przy på i op""".split()  # noqa: SIM905 - words
)
"""What these end with, if not with a mark."""
_CUE_WORDS: Final = re.compile(
    r"address|liv|resid|locat|situat|arriv|meet|stay|offic|restaur|hous|deliver|drop|visit|sen|ship"
    r"|mail|return|taxi|move|street|adress|adres|anschrift|straße|strasse|indirizzo|direcci"
    r"|domicilio|endere|morada|wohn|habit|demeur|viv|abit|moro|mieszk|bor |woon|corner"
    r"|side of|stop at|enter|station|bar|shop|store"
)


def addresses(text: str, said: frozenset[str] | None = None) -> list[Finding]:
    """STREET_ADDRESS in `text`, by start, not overlapping. Linear in the text's length.

    `said` are the triggers in it, where they are known.
    """
    spans: list[tuple[int, int, float]] = []
    done = -1
    for number in _NUMBERS.finditer(text):
        if number.start() < done or not _beside_words(text, *number.span()):
            continue
        for span in _at_number(text, number.start(), done):
            spans.append(span)
            done = max(done, span[1])
    if not (triggers(text.lower()) if said is None else said).isdisjoint(BOXES):
        spans += _boxes(text)
    if "PO A" in text:
        for office in _FIELD_POST.finditer(text):
            ship = _MILITARY.search(text, max(done, office.start() - _REACH), office.end())
            if ship is not None:
                spans.append((*ship.span(), FORM))
    return list(_joined(text, spans))


def _boxes(text: str) -> Iterator[tuple[int, int, float]]:
    reached = 0
    for hint in _BOX_HINT.finditer(text):
        box = _BOX.search(text, max(reached, hint.start() - _BOX_LEAD), hint.end() + _BOX_REST)
        if box is not None and not text[max(0, box.start() - 1) : box.start()].isalnum():
            reached = box.end()
            yield *box.span(), FORM


def _beside_words(text: str, start: int, end: int) -> bool:
    """Whether a word stands before this number or behind it, as in any address."""
    if text[start - 1 : start] == " " and (text[start - 2].isalpha() or text[start - 2] in ".,"):
        return True
    return _WORD_BEHIND.match(text, end) is not None


def _at_number(text: str, at: int, done: int) -> Iterator[tuple[int, int, float]]:
    """What an address with its number at `at` could be, the surest first."""
    next_word = _NEXT_WORD.match(text, at)
    word = "" if next_word is None or next_word[1].isdigit() else next_word[1]
    small = word[:1].islower()
    if word and (not small or word in _STREET_WORDS or word in ("bis", "ter")):
        behind = _AFTER_NUMBER.match(text, at)
        if behind is not None and (behind["rare"] is None or _serious(text, behind)):
            yield *behind.span(), FORM
            return
    first = _street_start(text, at, max(0, at - _REACH, done))
    if small and first == at:
        low = _LOWER_FORM.match(text, at)
        if low is not None:
            yield *low.span(), TOLD
        return
    starts = [at] if word and (not small or word in _JOINS) else []
    if first != at:
        starts.append(first)
    if starts:
        yield from _with_words(text, at, starts)


def _with_words(text: str, at: int, starts: list[int]) -> Iterator[tuple[int, int, float]]:
    """What an address could be that begins at one of these places, with its number at `at`."""
    united = _UNIT_HINT.search(text, at, at + _REACH) is not None
    for start in starts:
        if start != at and _streety(text[start:at]):
            around = _AROUND_NUMBER.search(text, start, at + _LONGEST_NUMBER)
            if around is not None and around.start() < at < around.end():
                yield *around.span(), FORM
                return
        unit = _WITH_UNIT.match(text, start) if united else None
        if unit is not None:
            yield *unit.span(), UNIT
            return
        place = _PLACE.match(text, start)
        if place is not None and place.end() > at and (_told(text, start) or _lines(text, place)):
            yield *place.span(), TOLD
            return


def _serious(text: str, behind: re.Match[str]) -> bool:
    """Whether this is a street, not so and so many of something."""
    return behind[0][:3].isdigit() or _told(text, behind.start()) or _lines(text, behind)


def _streety(words: str) -> bool:
    """Whether one of these words is that of a street, or ends like one."""
    return any(
        word in _STREET_WORDS or word.endswith(_STREET_ENDINGS)
        for word in (part.rstrip(".,").lower() for part in words.split())
    )


def _street_start(text: str, at: int, floor: int) -> int:
    """Where the words with capitals in front of a number begin; `at` if there are none."""
    start = at
    place = at
    for _ in range(_MOST_WORDS):
        if place <= floor or text[place - 1] != " ":
            break
        end = place - 1
        if end > floor and text[end - 1] == ",":
            end -= 1
        begin = max(text.rfind(" ", floor, end), text.rfind("\n", floor, end), floor - 1) + 1
        if _is_other(text[begin:end]):
            break
        opened = begin
        while begin < end and not (text[begin].isalnum() or text[begin] == "("):
            begin += 1
        if not text[begin:end].isalpha():
            cut = max(map(text.rfind, _OPENING, repeat(begin), repeat(end))) + 1
            begin = max(begin, cut)
        word = _WORDS_BACK.fullmatch(text, begin, end)
        small = word is None and text[begin:end].rstrip(".") in _SMALL_WORDS
        if word is None and not small:
            break
        place = begin
        if small or text[begin].isupper() or text[end - 1] == "." or start == at:
            start = begin
        if begin > opened:
            break
    return start


def _is_other(word: str) -> bool:
    """Whether it is a number, or a word in lower case that is in no street's name."""
    if word.islower():
        return word.isalpha() and word not in _JOINS and word not in _SMALL_WORDS
    return word.isdigit()


def _told(text: str, start: int) -> bool:
    """Whether the words in front of `start` say that an address follows."""
    before = text[max(0, start - _REACH) : start].lower()
    words = before.rstrip(" \n")
    if words[-1:] not in ":?=>\"'“”" and (
        words[words.rfind(" ") + 1 :].lstrip("(*_-/") not in _CUE_LAST
    ):
        return False
    return _CUE_WORDS.search(before) is not None and _CUES.search(before) is not None


def _lines(text: str, place: re.Match[str]) -> bool:
    """Whether this is a line of its own, between others of an address."""
    before = text[max(0, place.start() - 8) : place.start()].rstrip(" \t>?#|*")
    if before and before[-1] != "\n":
        return False
    tail = _TAIL.match(text, place.end())
    return tail is not None and "\n" in tail[0]


def _joined(text: str, spans: list[tuple[int, int, float]]) -> Iterator[Finding]:
    """Overlapping parts as one, with the lines that follow."""
    spans.sort(key=lambda one: (one[0], -one[1]))
    at = 0
    end = -1
    while at < len(spans):
        start, stop, confidence = spans[at]
        at += 1
        while at < len(spans) and spans[at][0] < stop:
            stop = max(stop, spans[at][1])
            confidence = max(confidence, spans[at][2])
            at += 1
        for _ in range(_LINES):
            if not (text[stop : stop + 1] == "," or text[stop : stop + 1].isspace()):
                break
            tail = _TAIL.match(text, stop)
            if tail is None:
                break
            stop = tail.end()
        if start >= end:
            yield Finding(start, stop, "STREET_ADDRESS", confidence)
            end = stop
