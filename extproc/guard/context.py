"""Words near a number that tell what it is.

A form without a checksum (a passport, an account) is only what the words around it say. They are
looked up when there is such a form, in a few characters around it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

BEFORE: Final = 52
"""Characters in front of a number in which words speak of it: a clause, or a label and its line."""
AFTER: Final = 20
_BEHIND: Final = 12
"""Characters by which a word behind a number seems farther away: most labels stand in front."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_PLAIN_WORD: Final = re.compile(r"[a-z]+")
"""The same where all is ASCII and in lower case."""
_STOP: Final = re.compile(r"[.!\n]")
_ABBREVIATION: Final = 4
"""Characters of a word from which a point behind it ends a sentence."""
_COLUMNS: Final = ",;|\t"
"""What stands between the columns of a table."""
_CELL: Final = 32
_LINE: Final = 400
_TABLE: Final = 4_000
"""Characters of a column's head, of a line, and of a table, that are looked at."""
_FAR: Final = 40
"""Characters by which a word in another sentence, or on another line, seems farther away."""

_WORDS: Final = {
    "phone": "phone telephone tel telefon telefoon telefono teléfono téléphone telephone "
    "telefone tlf tlfn mobile mobil móvil movil cell cellphone cellular celular handy "
    "smartphone landline portable fax telefax whatsapp sms signal voicemail hotline "
    "dial dialed dialled rufnummer telefonnummer handynummer mobilnummer festnetz "
    "anrufen llámame llamar appelez appeler chiamare chiamami cellulare cel callback "
    "helpline switchboard pager phones mobiles телефон тел мобильный फोन मोबाइल tél",
    "call": "call calling called calls ring rung reach reachable answering messages texting "
    "texted registered contact",
    "label": "office desk home work extension main direct",
    "number": "number numbers numéro numero número nummer",
    "card": "card cards cc visa mastercard amex maestro credit debit creditcard diners "
    "discover jcb unionpay kreditkarte kartennummer karte carte tarjeta carta carte "
    "pan ccn карта карты",
    "ssn": "ssn ssns socialsecurity",
    "itin": "itin itins",
    "bank": "acct kontonummer kontonr checking",
    "bank?": "account accounts konto savings",
    "routing": "routing aba rtn",
    "passport": "passport passports passeport pasaporte passaporto reisepass reisepassnummer "
    "passnummer paspoort passaporte passportnumber паспорт паспорта पासपोर्ट",
    "licence": "dl dln führerschein führerscheinnummer fahrerlaubnis permis patente dvla",
    "licence?": "license licence licenses licences",
    "driver": "driver drivers driving conducir conduire guida dmv",
    "nhs": "nhs",
    "nino": "nino ni insurance",
    "taxde": "steuer steuerid steueridentifikationsnummer identifikationsnummer idnr tin "
    "steuernummer tax tid",
    "idcard": "ausweis personalausweis ausweisnummer personalausweisnummer identity idcard perso",
    "nir": "nir sécu sécurité insee sociale vitale secu securite",
    "nif": "dni nif nie documento",
    "fiscal": "fiscale codice cf fiscal",
    "aadhaar": "aadhaar aadhar adhaar uid uidai आधार",
    "pan": "pan pancard",
    "iban": "iban",
    "ip": "ip ips ipv4 ipv6 address host server subnet",
    "version": "version versions v ver release upgrade upgraded firmware build section chapter "
    "clause",
    "other": "order orders tracking invoice isbn imei sku serial transaction ticket timestamp "
    "reference case epoch model part commit issue id ean upc gtin barcode population "
    "latitude longitude",
    "digest": "sha sha256 sha1 md5 hash digest checksum etag commit fingerprint integrity",
    "secret": "token tokens secret secrets bearer authorization credential credentials apikey "
    "password passwd passphrase passwort",
    "key": "key keys",
    "german": "german germany deutsch deutsche deutscher deutschland bundesdruckerei",
    "foreign": "british uk german french italian spanish indian canadian australian dutch swiss "
    "austrian irish eu european india germany france italy spain canada australia "
    "polish japanese chinese brazilian mexican russian deutscher französischer",
}
_PAIRS: Final = {
    "ssn": "social security,sozial security",
    "itin": "individual taxpayer,taxpayer identification",
    "bank": "bank account,account number,account no,account num,acct no",
    "routing": "transit number,routing number",
    "licence": "s license,s licence,driver license,drivers license,driver licence,driving licence,"
    "driving license,drivers licence,licence number,license number,operator license,"
    "carnet de,patente di,permis de",
    "nhs": "national health,health service",
    "nino": "national insurance,insurance number,ni number,ni no",
    "taxde": "steuerliche identifikationsnummer,tax id,tax identification",
    "idcard": "id card,identity card,carte d,national id,ausweis nr,card number",
    "nir": "sécurité sociale,numéro de,carte vitale,social security",
    "nif": "tax id,national id,identity number,documento nacional",
    "fiscal": "codice fiscale,tax code,fiscal code",
    "phone": "text me,call me,my number,her number,his number,their number,reach me,call us,"
    "contact number,ring me,appelez moi,mi número,mein handy",
    "key": "api key,access key,secret key,auth key",
    "secret": "api key,access key,secret key,private key,auth key,encryption key,signing key,"
    "shared key,account key,client secret",
}
_UNSPACED: Final = {
    "phone": ("电话", "手机", "電話", "手機", "携帯", "联系方式", "전화", "휴대폰", "โทร"),
    "card": ("银行卡", "信用卡", "クレジットカード", "카드", "卡号"),
    "passport": ("护照", "護照", "パスポート", "여권"),
    "bank": ("账号", "账户", "口座"),
    "secret": ("密码", "密钥", "パスワード", "비밀번호"),
    "licence": ("驾照", "驾驶证", "運転免許"),
}
_WIDE: Final = re.compile("[\u0e00-\U0010ffff]")
"""From here on there are scripts that put no spaces between words."""


def _table(words: Mapping[str, str], apart: str | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for kind, said in words.items():
        for one in said.split(apart):
            found[one] = (*found.get(one, ()), kind)
    return found


def _stops(piece: str) -> Iterator[int]:
    """The ends of sentences (no abbreviations) and of lines that are no labels."""
    for one in _STOP.finditer(piece):
        at = one.start()
        if one[0] == "\n":
            if not piece.endswith((":", ": "), 0, at):
                yield at
        elif at >= _ABBREVIATION and piece[at + 1 : at + 2].isspace():
            word = piece[at - _ABBREVIATION : at]
            if word.isalnum() or word.replace("_", "a").isalnum():
                yield at


def _put(found: dict[str, int], kinds: Iterable[str], distance: int) -> None:
    for kind in kinds:
        if kind not in found or distance < found[kind]:
            found[kind] = distance


class Papers:
    """Where words stand that speak of what no form tells: passports, licences, accounts."""

    def __init__(self, lower: str, stems: Iterable[str]) -> None:
        """`stems` are those of such words that are in the text."""
        self._found: list[tuple[int, int]] = []
        for stem in stems:
            at = lower.find(stem)
            while at >= 0:
                self._found.append((at, at + len(stem)))
                at = lower.find(stem, at + len(stem))
        self._found.sort()

    def near(self, start: int, end: int) -> bool:
        """Whether one of them is near a place."""
        found = self._found
        at = bisect_left(found, (start - BEFORE,))
        last = end + AFTER
        while at < len(found) and found[at][0] < last:
            if found[at][1] <= last:
                return True
            at += 1
        return False


class Context:
    """The words of every language that are known, folded as texts are."""

    def __init__(self, fold: Mapping[int, str]) -> None:
        self._one = {
            word.translate(fold).lower(): kinds for word, kinds in _table(_WORDS, None).items()
        }
        self._two: dict[str, dict[str, tuple[str, ...]]] = {}
        for pair, kinds in _table(_PAIRS, ",").items():
            first, _, second = pair.translate(fold).lower().rpartition(" ")
            self._two.setdefault(second, {})[first] = kinds

        self._known = frozenset({*self._one, *self._two})

    def around(self, lower: str, start: int, end: int) -> dict[str, int]:
        """What words around a place speak of, with the characters between; small is near.

        Takes the same time however long the text is.
        """
        found: dict[str, int] = {}
        first = max(0, start - BEFORE)
        self._look(lower, first, start, start, found, behind=False)
        self._look(lower, end, min(len(lower), end + AFTER), end, found, behind=True)
        return found

    def above(self, lower: str, start: int) -> dict[str, int]:
        """What the head of the column speaks of in which a place stands, if it is in a table.

        As `around`, as if that head stood in front; the head is the first line of the paragraph.
        """
        lead = lower[max(0, start - _CELL) : start].rstrip(" +(\"'")
        mark = lead[-1:]
        if mark not in _COLUMNS or not mark:
            return {}
        line = lower.rfind("\n", max(0, start - _LINE), start)
        if line < 0:
            return {}
        floor = max(0, line - _TABLE)
        top = lower.rfind("\n\n", floor, line)
        first = top + 2 if top >= 0 else floor
        if first and top < 0:
            return {}
        cells = lower[first : lower.find("\n", first)].split(mark)
        column = lower.count(mark, line, start)
        if column >= len(cells):
            return {}
        head = cells[column].strip(" \"'")[:_CELL]
        return self.around(head, len(head), len(head))

    def _look(
        self, lower: str, first: int, last: int, place: int, found: dict[str, int], *, behind: bool
    ) -> None:
        piece = lower[first:last]
        if behind:
            piece = piece.partition("\n")[0]
        plain = piece.isascii()
        pattern = _PLAIN_WORD if plain else _WORD
        if not plain and _WIDE.search(piece) is not None:
            self._look_unspaced(piece, found, _BEHIND if behind else 1)
        words = pattern.findall(piece)
        known = self._known
        if known.isdisjoint(words):
            return
        stops: list[int] | None = None
        before, end = "", 0
        for word in words:
            start = piece.find(word, end)
            end = start + len(word)
            if word in known:
                kinds = self._one.get(word, ())
                pairs = self._two.get(word)
                if pairs is not None:
                    kinds += pairs.get(before, ())
                if kinds:
                    if stops is None:
                        stops = [*_stops(piece)]
                    at = start if behind else end
                    distance = first + at - place + _BEHIND if behind else place - first - at
                    if stops and any([(at <= stop) != behind for stop in stops]):  # noqa: C419
                        distance += _FAR
                    _put(found, kinds, distance)
            before = word

    def _look_unspaced(self, piece: str, found: dict[str, int], distance: int) -> None:
        for kind, words in _UNSPACED.items():
            if any(word in piece for word in words):
                found[kind] = min(distance, found.get(kind, distance))
