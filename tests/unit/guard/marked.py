# ruff: noqa: E501 - tables of forms and sentences read best unbroken
"""Texts in which every value is known: values made by the rules of those who give them out, in
sentences written for this, between others that hold numbers which are none."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from stdnum import luhn, verhoeff
from stdnum.iso7064 import mod_11_10
from stdnum.it import codicefiscale

Draw = random.Random
Maker = Callable[[Draw], str]


@dataclass(frozen=True, slots=True)
class Marked:
    text: str
    start: int
    end: int
    type: str


def digits(draw: Draw, count: int, first: str = string.digits) -> str:
    return draw.choice(first) + "".join(draw.choices(string.digits, k=count - 1))


def word(draw: Draw, count: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(draw.choices(letters, k=count))


def grouped(draw: Draw, value: str, sizes: tuple[int, ...], marks: str = " -") -> str:
    mark, parts, at = draw.choice(marks), [], 0
    for size in sizes:
        parts.append(value[at : at + size])
        at += size
    return mark.join(parts)


def card(draw: Draw) -> str:
    head, size = draw.choice([("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15),
                              ("6011", 16), ("36", 14), ("3530", 16), ("65", 16), ("62", 16)])  # fmt: skip
    body = head + digits(draw, size - len(head) - 1)
    value = body + luhn.calc_check_digit(body)
    if size == 16 and draw.random() < 0.5:
        return grouped(draw, value, (4, 4, 4, 4))
    if size == 15 and draw.random() < 0.5:
        return grouped(draw, value, (4, 6, 5))
    return value


def iban(draw: Draw) -> str:
    land, bban = draw.choice([
        ("DE", digits(draw, 18)), ("FR", digits(draw, 10) + word(draw, 11, string.digits + "ABCDM") + digits(draw, 2)),
        ("GB", word(draw, 4, string.ascii_uppercase) + digits(draw, 14)), ("ES", digits(draw, 20)),
        ("IT", draw.choice("ABCKX") + digits(draw, 22)), ("NL", word(draw, 4, string.ascii_uppercase) + digits(draw, 10)),
        ("CH", digits(draw, 17)), ("BE", digits(draw, 12)), ("NO", digits(draw, 11)),
    ])  # fmt: skip
    number = int("".join(str(int(one, 36)) for one in f"{bban}{land}00"))
    value = f"{land}{98 - number % 97:02d}{bban}"
    if draw.random() < 0.5:
        return " ".join(value[at : at + 4] for at in range(0, len(value), 4))
    return value.lower() if draw.random() < 0.1 else value


def ssn(draw: Draw) -> str:
    area = draw.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03d}-{draw.randint(1, 99):02d}-{draw.randint(1, 9999):04d}"


def itin(draw: Draw) -> str:
    return f"9{digits(draw, 2)}-{draw.choice([50, 65, 70, 88, 90, 92, 94, 99])}-{digits(draw, 4)}"


def nhs(draw: Draw) -> str:
    while True:
        body = digits(draw, 9, "4679")
        check = 11 - sum(int(one) * (10 - at) for at, one in enumerate(body)) % 11
        if check != 10:
            value = body + str(check % 11)
            return grouped(draw, value, (3, 3, 4)) if draw.random() < 0.6 else value


def nino(draw: Draw) -> str:
    value = (
        draw.choice(["AB", "CE", "JG", "PW", "SX", "LE", "HA"])
        + digits(draw, 6)
        + draw.choice("ABCD")
    )
    return grouped(draw, value, (2, 2, 2, 2, 1), " ") if draw.random() < 0.5 else value


def tax_german(draw: Draw) -> str:
    while True:
        kinds = draw.sample(string.digits, 9)
        body = [*kinds, kinds[draw.randrange(9)]]
        draw.shuffle(body)
        text = "".join(body)
        if text[0] != "0":
            value = text + mod_11_10.calc_check_digit(text)
            return grouped(draw, value, (2, 3, 3, 3), " ") if draw.random() < 0.5 else value


def card_german(draw: Draw) -> str:
    value = draw.choice("LMNPRTVWXY") + word(draw, 8, "CFGHJKLMNPRTVWXYZ0123456789")
    total = sum(w * int(one, 36) for w, one in zip((7, 3, 1) * 3, value, strict=True))
    return value + str(total % 10)


def nir(draw: Draw) -> str:
    body = f"{draw.choice('12')}{digits(draw, 2)}{draw.randint(1, 12):02d}{draw.randint(1, 95):02d}{digits(draw, 3)}{digits(draw, 3)}"
    value = f"{body}{97 - int(body) % 97:02d}"
    return grouped(draw, value, (1, 2, 2, 2, 3, 3, 2), " ") if draw.random() < 0.5 else value


def nif(draw: Draw) -> str:
    number = int(digits(draw, 8, "1234567"))
    return f"{number}{draw.choice(['', '-'])}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def nie(draw: Draw) -> str:
    head, body = draw.randrange(3), digits(draw, 7)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{head}{body}") % 23]
    mark = draw.choice(["", "-"])
    return f"{'XYZ'[head]}{mark}{body}{mark}{letter}"


def fiscal(draw: Draw) -> str:
    body = (
        f"{word(draw, 6, 'BCDFGLMNPRSTVZ')}{digits(draw, 2)}{draw.choice('ABCDEHLMPRST')}"
        f"{draw.randint(1, 28):02d}{draw.choice('ABCDEFGHIL')}{digits(draw, 3)}"
    )
    return body + codicefiscale.calc_check_digit(body)


def unique(draw: Draw) -> str:
    body = digits(draw, 11, "23456789")
    value = body + verhoeff.calc_check_digit(body)
    return grouped(draw, value, (4, 4, 4))


def pan(draw: Draw) -> str:
    return f"{word(draw, 3, string.ascii_uppercase)}{draw.choice('PCHF')}{word(draw, 1, string.ascii_uppercase)}{draw.randint(1, 9999):04d}{word(draw, 1, string.ascii_uppercase)}"


def phone_abroad(draw: Draw) -> str:
    return draw.choice([
        f"+1 {draw.choice(['212', '415', '312'])} 5{digits(draw, 2)} {digits(draw, 4, '2345')}",
        f"+44 20 7946 0{digits(draw, 3)}", f"+44 7911 {digits(draw, 6)}", f"+49 30 {digits(draw, 7, '23456')}",
        f"+49 (0)89 {digits(draw, 8, '234')}", f"+33 6 {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)}",
        f"+34 6{digits(draw, 2)} {digits(draw, 3)} {digits(draw, 3)}", f"+39 347 {digits(draw, 7)}",
        f"+91 98{digits(draw, 3)} {digits(draw, 5)}", f"+91-98{digits(draw, 8)}", f"+81 3-5{digits(draw, 3)}-{digits(draw, 4)}",
        f"+41 79 {digits(draw, 3, '234')} {digits(draw, 2)} {digits(draw, 2)}", f"+1 (415) 555-{digits(draw, 4)}",
        f"0044 20 7946 0{digits(draw, 3)}", f"+14155552{digits(draw, 3)}",
    ])  # fmt: skip


def phone_home(draw: Draw) -> str:
    return draw.choice([
        f"(415) 5{digits(draw, 2)}-{digits(draw, 4)}", f"212-5{digits(draw, 2)}-{digits(draw, 4)}",
        f"312.5{digits(draw, 2)}.{digits(draw, 4)}", f"020 7946 0{digits(draw, 3)}", f"07911 {digits(draw, 6)}",
        f"030 {digits(draw, 7, '23456')}", f"089/{digits(draw, 7, '23456')}", f"06 {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)} {digits(draw, 2)}",
        f"01.{digits(draw, 2, '45')}.{digits(draw, 2)}.{digits(draw, 2)}.{digits(draw, 2)}", f"6{digits(draw, 2)} {digits(draw, 3)} {digits(draw, 3)}",
        f"98{digits(draw, 3)} {digits(draw, 5)}", f"98{digits(draw, 8)}", f"415555{digits(draw, 4)}", f"0171-{digits(draw, 7)}",
        f"555-{digits(draw, 4)}", f"415-555-{digits(draw, 4)} ext. {digits(draw, 3)}",
    ])  # fmt: skip


def mail(draw: Draw) -> str:
    local = draw.choice(
        [
            "anna.schmidt",
            "j_doe99",
            "o'brien",
            "info+news",
            "müller",
            "sales-eu",
            "x",
            "J.R.R.Tolkien",
            "user%dept",
        ]
    )
    host = draw.choice(
        [
            "example.com",
            "mail.example.co.uk",
            "sub.domain-with-dash.io",
            "bücher.example",
            "uni-köln.de",
            "company.travel",
        ]
    )
    return f"{local}@{host}"


def host(draw: Draw) -> str:
    if draw.random() < 0.6:
        return ".".join(str(draw.randint(1, 254)) for _ in range(4)).replace("127.", "128.", 1)
    return ":".join(word(draw, 4, "0123456789abcdef") for _ in range(8))


def device(draw: Draw) -> str:
    return draw.choice(":-").join(word(draw, 2, "0123456789ABCDEF") for _ in range(6))


def jwt(draw: Draw) -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": digits(draw, 8), "name": "x"})
    coded = [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts
    ]
    return ".".join([*coded, word(draw, 43)])


def key(draw: Draw) -> str:
    hexes, upper = "0123456789abcdef", string.ascii_uppercase + "234567"
    return draw.choice([
        "AKIA" + word(draw, 16, upper), "ASIA" + word(draw, 16, upper), "AIza" + word(draw, 35), "sk-" + word(draw, 48),
        "sk-proj-" + word(draw, 60), "sk-ant-api03-" + word(draw, 90), "ghp_" + word(draw, 36), "github_pat_" + word(draw, 82),
        "glpat-" + word(draw, 20), "xoxb-" + digits(draw, 12) + "-" + digits(draw, 12) + "-" + word(draw, 24),
        "sk_live_" + word(draw, 24), "rk_live_" + word(draw, 24), "SK" + word(draw, 32, hexes), "SG." + word(draw, 22) + "." + word(draw, 43),
        "hf_" + word(draw, 34, string.ascii_letters), "tg-" + word(draw, 50), "npm_" + word(draw, 36), "gsk_" + word(draw, 52),
        "xapp-1-A" + word(draw, 50), "dop_v1_" + word(draw, 64, hexes), "shpat_" + word(draw, 32, hexes), "key-" + word(draw, 32, hexes),
        "https://hooks.slack.com/services/T" + word(draw, 8, upper) + "/B" + word(draw, 8, upper) + "/" + word(draw, 24),
        "AccountKey=" + word(draw, 86) + "==",
    ])  # fmt: skip


def private(draw: Draw) -> str:
    kind = draw.choice(["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "])
    body = "\n".join(word(draw, 64) for _ in range(4))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def password(draw: Draw) -> str:
    return draw.choice(
        [
            "hunter2",
            "Sommer2024!",
            "tr0ub4dor&3",
            "P@ssw0rd",
            "qwerty123",
            "Xk9#mQ2$vL",
            "letmein99",
        ]
    )


_CARD: Final = ("My card is {}.", "Please charge {} and send the bill", "card number: {}", "{} (exp 04/29)", "Kreditkarte {} gesperrt",
                '{{"pan": "{}"}}', "number on the front: {}")  # fmt: skip
_CALL: Final = ("Call me on {}", "Tel.: {}", "phone\n{}", "You can reach her at {} after six", "Telefon {} (Büro)", "Mein Handy: {}",
                "mobile {}, thanks", "text me at {}", "mon numéro de téléphone est le {}", "WhatsApp: {}", "mi teléfono es {}", "Fax {}")  # fmt: skip

FORMS: Final[dict[str, tuple[Maker, tuple[str, ...]]]] = {
    "CREDIT_CARD": (card, _CARD),
    "IBAN_CODE": (iban, ("Transfer to {} today", "IBAN: {}", "{}", "Bitte auf {} überweisen.", "from {} to my savings")),
    "US_SSN": (ssn, ("SSN: {}", "my social security number is {}", "{} is on her form", "ssn {}, born in Ohio")),
    "US_ITIN": (itin, ("ITIN {}", "individual taxpayer identification number: {}", "the ITIN is {}.")),
    "UK_NHS": (nhs, ("NHS number {}", "her NHS no. is {}", "NHS: {}", "National Health Service number {}")),
    "UK_NINO": (nino, ("NI number {}", "National Insurance: {}", "{} is what the letter says", "NINO {}.")),
    "DE_TAX_ID": (tax_german, ("Steuer-ID {}", "Steueridentifikationsnummer: {}", "IdNr. {}", "my German tax id is {}")),
    "DE_ID_CARD": (card_german, ("Personalausweis {}", "Ausweisnummer: {}", "German identity card {}")),
    "FR_NIR": (nir, ("numéro de sécurité sociale {}", "NIR : {}", "{} est son numéro", "n° sécu {}")),
    "ES_NIF": (nif, ("DNI {}", "mi NIF es {}", "con documento {}", "{}")),
    "ES_NIE": (nie, ("NIE {}", "mi NIE es {}.", "{}")),
    "IT_FISCAL_CODE": (fiscal, ("codice fiscale {}", "C.F. {}", "{}", "il mio codice è {}")),
    "IN_AADHAAR": (unique, ("Aadhaar {}", "my Aadhaar number is {}", "UID: {}", "{}")),
    "IN_PAN": (pan, ("PAN {}", "my PAN card is {}", "{}", "PAN no: {}")),
    "PHONE_NUMBER": (phone_home, _CALL),
    "EMAIL_ADDRESS": (mail, ("Write to {}.", "<{}>", "mailto:{}", "{}", '"email": "{}"', "my mail is {}, thanks", "({})")),
    "IP_ADDRESS": (host, ("from {} at noon", "host {}", "[{}] refused", "client_ip={}", "ping {}")),
    "MAC_ADDRESS": (device, ("MAC {}", "ether {} txqueuelen", "{}")),
    "JWT": (jwt, ("Authorization: Bearer {}", "token={}", "{}")),
    "API_KEY": (key, ("api_key = '{}'", "export KEY={}", "use {} please", "{}", "curl -H 'x-api-key: {}'")),
    "PRIVATE_KEY": (private, ("{}", "my key:\n{}\nthanks")),
    "PASSWORD": (password, ("password: {}", "DB_PASSWORD={}", '"password": "{}"', "my password is {}", "pwd = '{}'", "Passwort: {}")),
    "US_PASSPORT": (lambda draw: digits(draw, 9, "123456"), ("passport number {}", "my US passport is {}", "Passport No: {}")),
    "US_DRIVER_LICENSE": (lambda draw: draw.choice("ABDFMW") + digits(draw, draw.choice([7, 8, 12])),
                          ("driver's license {}", "my driver license number is {}", "Driver's License No.: {}")),
    "US_BANK_NUMBER": (lambda draw: digits(draw, draw.choice([8, 10, 12]), "123456789"),
                       ("account number {}", "bank account {}", "my checking account number is {}", "Acct: {}")),
    "URL_CREDENTIALS": (lambda draw: f"admin:{word(draw, 10)}",
                        ("postgres://{}@db.example.com:5432/app", "see https://{}@host.example/x", "redis://{}@cache.internal.example:6379/0")),
}  # fmt: skip
ABROAD: Final = (
    phone_abroad,
    (*_CALL, "{}", "the number is {}.", "Contact: Ann, {}, Berlin", "{} (m)"),
)

PLAIN: Final = (
    "Order 4711-2288-1 was placed on 2024-03-17 at 14:35:12 for $1,234,567.89.",
    "The value of pi is 3.141592653589793 and e is 2.718281828459045.",
    "Release 10.4.2.1 of the firmware fixes 132 bugs; see section 4.2.1.3.",
    "The commit is 9fceb02d0ae598e95dc970b74767f19372d61af8, tag v2.0.1.",
    "ISBN 978-3-16-148410-0, 320 pages, published 1999.",
    "for i in range(1000000): total += data[i] * 0.0012345",
    "In 1984, 2001 and 2010 the population was 7800000, 8100000 and 8500000.",
    "The id is 550e8400-e29b-41d4-a716-446655440000.",
    "x = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "@property\ndef password(self): return self._password",
    "My password is not working, please reset it.",
    "How do I reset the password of my account? The token has expired.",
    "std::vector<int>::iterator it; Foo::bar(a::b);",
    "The tracking number is 1Z999AA10123456784.",
    "lodash@4.17.21 and git@github.com:org/repo.git",
    "token: str, secret: bytes, key: int = 5, password: Optional[str] = None",
    "The meeting is on 12/05/2024 from 10:00 to 11:30 in room 2041.",
    "base64: aGVsbG8gd29ybGQgdGhpcyBpcyBhIHRlc3Q=",
    "Timestamp 1700000000123, epoch 1609459200.",
    "Latitude 52.5200066, longitude 13.4049540.",
    "The ratio was 1:2:3:4 and the time 12:34:56.",
    "api_key = os.environ['API_KEY']; password = getpass()",
    "Call the function with 3 arguments; it returns 1234567.",
    "The card game has 52 cards, 4 suits and 13 ranks.",
    "Our passport office is open from 9 to 17.",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "Add 00123456 to 7654321 and divide by 99.",
    'HTTP/1.1 200 OK\nContent-Length: 1048576\nETag: "5d8c72a5edda8"',
    "Einstein was born in 1879; E=mc2, c is 299792458 m/s.",
    "color: #ff0000; width: 1200px; margin: 0 0 0 16px",
    "A phone has 8 cores, 12 GB of RAM and a 5000 mAh battery.",
    "SELECT * FROM users WHERE id = 12345678 LIMIT 100",
)  # fmt: skip
"""Sentences with numbers in which there is nothing."""


def texts(seed: int, each: int) -> Iterator[Marked]:
    """`each` texts of every type, the same for the same seed."""
    draw = random.Random(seed)
    forms = [*FORMS.items(), ("PHONE_NUMBER", ABROAD)]
    for kind, (make, templates) in forms:
        for number in range(each):
            yield _one(draw, kind, make, templates[number % len(templates)])


def _one(draw: Draw, kind: str, make: Maker, template: str) -> Marked:
    value = make(draw)
    head = draw.choice([*PLAIN, "Hello,", "", ""])
    tail = draw.choice([*PLAIN, "Thanks!", "", ""])
    before, _, after = template.replace("{{", "{").replace("}}", "}").partition("{}")
    before = f"{head}\n{before}" if head else before
    return Marked(f"{before}{value}{after}\n{tail}", len(before), len(before) + len(value), kind)
