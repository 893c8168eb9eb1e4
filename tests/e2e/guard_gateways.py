"""A gateway with a guard of every kind, each on a route of its own; and values of every type."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import httpx2 as httpx

from tests.e2e.conftest import Json, running
from tests.e2e.ledger_processes import Redis
from tests.e2e.somebody import Somebody, new_key

VALUES: Final[Mapping[str, tuple[str, str]]] = {
    "EMAIL_ADDRESS": ("Write to {} today.", "ada.quill@posteo-mail.example"),
    "PHONE_NUMBER": ("Call {} after six.", "+49 30 2312 5014"),
    "STREET_ADDRESS": ("The parcel goes to {}.", "4417 Birchwood Avenue, Springfield, IL 62704"),
    "CREDIT_CARD": ("Charge card {}.", "5105 1051 0510 5100"),
    "IBAN_CODE": ("The IBAN is {}.", "DE89 3704 0044 0532 0130 00"),
    "US_BANK_NUMBER": ("My bank account number is {}.", "7381920465"),
    "US_SSN": ("My social security number is {}.", "536-22-8145"),
    "US_ITIN": ("My ITIN is {}.", "912-70-3456"),
    "UK_NHS": ("Her NHS number is {}.", "943 476 5919"),
    "UK_NINO": ("National insurance number {}.", "AB 12 34 56 C"),
    "DE_TAX_ID": ("Steuer-ID {}.", "86095742719"),
    "DE_ID_CARD": ("Personalausweis {}.", "T220001293"),
    "FR_NIR": ("Numéro de sécurité sociale {}.", "2 55 08 14 168 025 38"),
    "ES_NIF": ("DNI {}.", "54362315K"),
    "ES_NIE": ("NIE {}.", "X2482300W"),
    "IT_FISCAL_CODE": ("Codice fiscale {}.", "RCCMNL83S18D969H"),
    "IN_AADHAAR": ("Aadhaar {}.", "2341 2341 2346"),
    "IN_PAN": ("PAN card {}.", "AAPPV8261K"),
    "US_PASSPORT": ("US passport number {}.", "543210987"),
    "PASSPORT": ("Reisepass Nummer {}.", "C01X00T47"),
    "US_DRIVER_LICENSE": ("California driver's license {}.", "D4829173"),
    "PERSON": ("Dear Mrs {},", "Margarethe Ostwald"),
    "DATE_OF_BIRTH": ("She was born on {}.", "14 March 1971"),
    "IP_ADDRESS": ("The server is at {}.", "203.0.113.77"),
    "MAC_ADDRESS": ("Its card is {}.", "3c:22:fb:91:0e:5a"),
    "URL_CREDENTIALS": ("Clone https://{}@git.example.com/app.git first.", "deploy:h4rdly-s3cret"),
    "API_KEY": ("Set the key to {} now.", "sk-proj-Zq8LmX2vTn4RbK7wYd1HsP5cJf9GaE3u"),
    "JWT": (
        "Token: {} it is.",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI4ODQ0IiwibmFtZSI6IkEifQ.s5kQx0rJ8nWm2Vb7t",
    ),
    "PRIVATE_KEY": (
        "Use\n{}\nfor it.",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hZl2u8y\n-----END PRIVATE KEY-----",
    ),
    "PASSWORD": ("The password is {} now.", "Tr0ub4dor&Zebra9"),
    "SECRET": ("client_secret = {}", "q7Vw2Lk9Zx4Nc8Rb1Ty6Hm3Js5Pd0Gf"),
    "CUSTOM:project": ("It is for {} only.", "Project Blauwal"),
    "CUSTOM:ticket": ("Ticket {} has it all.", "SUP-48213"),
}  # fmt: skip
"""For each type a sentence, and a value that is found in it and in nothing else there."""
EVERYTHING: Final = "\n".join(sentence.format(value) for sentence, value in VALUES.values())

EVERYTHING_UP: Final = "\n".join(
    sentence.format(f"<{kind.upper().replace(':', '_')}_1>")
    for kind, (sentence, _) in VALUES.items()
)
"""The same as a provider gets it."""
EMAIL, PERSON, CARD = (VALUES[one][1] for one in ("EMAIL_ADDRESS", "PERSON", "CREDIT_CARD"))
MAIL: Final = f"Write to {EMAIL} today."
LETTER: Final = f"Dear Mrs {PERSON}, write to {EMAIL} today."
LETTER_UP: Final = "Dear Mrs <PERSON_1>, write to <EMAIL_ADDRESS_1> today."

ROUTES: Final[Mapping[str, Json]] = {
    "unguarded": {"guard": {"enabled": False}},
    "one-way": {"guard": {"restore": False}},
    "flag": {"guard": {"actions": {"default": "flag"}}},
    "mask": {"guard": {"actions": {"default": "mask"}}},
    "hash": {"guard": {"actions": {"default": "hash"}}},
    "block": {"guard": {"actions": {"default": "block"}}},
    "block-card": {"guard": {"actions": {"CREDIT_CARD": "block", "IP_ADDRESS": "ignore"}}},
    "observe": {"guard": {"mode": "observe", "actions": {"CREDIT_CARD": "block"}}},
    "observed-route": {"mode": "observe", "guard": {"actions": {"CREDIT_CARD": "block"}}},
    "media": {"guard": {"images": "block", "files": "block"}},
    "both": {"guard": {"direction": "both"}},
    "answers": {
        "guard": {
            "direction": "response",
            "actions": {
                "CREDIT_CARD": "block", "PERSON": "flag", "PHONE_NUMBER": "mask",
                "IBAN_CODE": "hash", "IP_ADDRESS": "ignore",
            },
        }
    },
    "answers-observed": {
        "guard": {"direction": "response", "mode": "observe", "actions": {"default": "block"}}
    },
    "both-block": {"guard": {"direction": "both", "actions": {"CREDIT_CARD": "block"}}},
    "content": {"record": "content"},
    "content-both": {
        "record": "content", "guard": {"direction": "both", "actions": {"CREDIT_CARD": "block"}},
    },
    "counted": {"limits": {"key": {"input_tokens": "1000/d"}}},
    "counted-unguarded": {
        "limits": {"key": {"input_tokens": "1000/d"}}, "guard": {"enabled": False},
    },
    "bounded": {"limits": {"key": {"input_tokens": "500/request"}}},
    "bounded-unguarded": {
        "limits": {"key": {"input_tokens": "500/request"}}, "guard": {"enabled": False},
    },
    "hidden": {"guard": {"actions": {"default": "block"}}, "record": "content"},
    "open": {"guard": {"on_failure": "open"}},
    "answers-open": {
        "guard": {"direction": "response", "on_failure": "open", "actions": {"default": "block"}}
    },
    "guarded": {},
}  # fmt: skip
_CALM: Final = {"consecutive_5xx": 1_000_000}
"""One test's failures must not take a provider out for the next."""


def config(raw: int | None = None) -> Json:
    """gateway.yaml. `raw`: a port of this machine where somebody speaks as OpenAI does."""
    providers: Json = {
        "openai": {"dialect": "openai", "url": "https://api.openai.com", "key_env": "OPENAI_KEY"},
        "anthropic": {
            "dialect": "anthropic", "url": "https://api.anthropic.com", "key_env": "ANTHROPIC_KEY",
        },
        "gemini": {
            "dialect": "gemini", "url": "https://generativelanguage.googleapis.com",
            "key_env": "GEMINI_KEY",
        },
    }  # fmt: skip
    targets: Json = {
        "gpt": {"provider": "openai", "model": "gpt-4o-mini"},
        "gpt-five": {"provider": "openai", "model": "gpt-5"},
        "instruct": {"provider": "openai", "model": "gpt-3.5-turbo-instruct"},
        "claude": {"provider": "anthropic", "model": "claude-sonnet-4-5"},
        "gemini": {"provider": "gemini", "model": "gemini-2.5-flash"},
        "vectors": {"provider": "openai", "model": "text-embedding-3-small"},
        "gemini-vectors": {"provider": "gemini", "model": "gemini-embedding-001"},
    }
    if raw is not None:
        providers["raw"] = {
            "dialect": "openai", "url": f"http://127.0.0.1:{raw}", "key_env": "RAW_KEY",
        }  # fmt: skip
        providers["raw-claude"] = {
            "dialect": "anthropic", "url": f"http://127.0.0.1:{raw}", "key_env": "RAW_KEY",
        }  # fmt: skip
        # OpenAI's responses as they are: of another host nobody knows that it has them.
        providers["raw-azure"] = {
            "dialect": "azure", "url": f"http://127.0.0.1:{raw}", "key_env": "RAW_KEY",
            "api_version": "2024-10-21",
        }  # fmt: skip
        targets["raw-azure"] = {"provider": "raw-azure", "model": "gpt-4o", "deployment": "one"}
        targets["raw"] = {"provider": "raw", "model": "gpt-4o"}
        targets["raw-claude"] = {"provider": "raw-claude", "model": "claude-haiku-4-5"}
        targets["raw-instruct"] = {"provider": "raw", "model": "gpt-3.5-turbo-instruct"}
    for one in providers.values():
        one["outlier"] = _CALM
    for one in targets.values():
        one["timeout"] = "10s"
    routes: list[Json] = []
    for name, route in ROUTES.items():
        match = {} if name == "guarded" else {"match": {"headers": {"x-test-route": name}}}
        routes.append({"name": name, **match, "chain": "walk", **route})
    return {
        "providers": providers,
        "targets": targets,
        "chains": {"walk": ["gpt", "claude", "gemini"], "back": ["claude", "gpt"]},
        "routes": routes,
        "identity": "keys",
        "guard": {
            "words": {"project": ["Project Blauwal"]},
            "patterns": {"ticket": r"\bSUP-\d{4,6}\b"},
        },
    }


@dataclass(frozen=True, slots=True)
class Guarded(Somebody):
    """The gateway, and somebody who may ask there."""

    route: ClassVar[str] = "guarded"

    def chat(
        self, text: str, route: str = "guarded", *, model: str = "gpt", said: str = "", **more: Any
    ) -> httpx.Response:
        """A chat completion; `said` is what the model says."""
        script = {"text": said} if said else None
        attribution = more.pop("attribution", {})
        return self.gateway.chat(
            model, text, script=script, headers=self.head(route, **attribution), **more
        )

    def post(self, path: str, body: Json, route: str = "guarded", **said: str) -> httpx.Response:
        """A body to a path below `/v1`."""
        head = self.head(route, **said)
        return self.gateway.http.post(f"{self.gateway.url}/{path}", json=body, headers=head)

    def sent(self) -> bytes:
        """Everything that the simulator got since it was made to forget: request lines, headers
        and bodies."""
        found = []
        for one in self.gateway.asked():
            head = "\n".join([one["path"], *(f"{name}: {value}" for name, value in one["headers"])])
            found += [head.encode(), self.gateway.sent_body(one)]
        return b"\n".join(found)

    def prompt(self) -> str:
        """The last message of the last chat completion that the simulator got."""
        found: str = self.gateway.asked()[-1]["body"]["messages"][-1]["content"]
        return found


@contextmanager
def guarded_gateway(
    folder: Path,
    *flags: str,
    store: str = "embedded",
    raw: int | None = None,
    change: Json | None = None,
) -> Iterator[Guarded]:
    """`embedded`: one worker; `redis`: two. `change`: what gateway.yaml says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({**config(raw), **(change or {})}, indent=1))
    with Redis.running(wanted=store == "redis") as redis:
        more = ("--redis", redis.url, "--workers", "2") if redis else ()
        env = {"RAW_KEY": "any"} if raw is not None else {}
        with running(folder / "run", path, *more, *flags, env=env) as gateway:
            yield Guarded(gateway, new_key(gateway), redis)


# --- looking for values ----------------------------------------------------------------------


def forms(value: str) -> set[bytes]:
    """A value as it may stand in bytes: plain, in JSON of both manners, in JSON in JSON, in a
    UTF-16 string, in a URL, in base64 at each of three places."""
    plain = value.encode()
    once = [json.dumps(value, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)]
    twice = [json.dumps(one)[1:-1] for one in once]
    found = {plain, *(one.encode() for one in (*once, *twice)), quote(value).encode()}
    found.add(value.encode("utf-16-le"))
    for shift in range(3):
        packed = b64encode(b"x" * shift + plain)
        # Without the characters that its neighbours have a part in.
        found.add(packed[0 if shift == 0 else 4 : len(packed) // 4 * 4 - 4])
    return found


_FORMS: Final = {kind: forms(value) for kind, (_, value) in VALUES.items()}


def leaks(data: bytes, kinds: Iterable[str] = VALUES) -> list[str]:
    """Types whose value stands somewhere in `data`."""
    return [kind for kind in kinds if any(one in data for one in _FORMS[kind])]


def missing(text: str, kinds: Iterable[str] = VALUES) -> list[str]:
    """Types whose value does not stand in a text."""
    return [kind for kind in kinds if VALUES[kind][1] not in text]


def scripted(**script: Any) -> dict[str, str]:
    """The header that tells the simulator what to do."""
    return {"x-sim-script": json.dumps(script)}


def events(data: bytes) -> list[Json]:
    """The events of a stream, without comments and the last word."""
    lines = [one.removeprefix("data:") for one in data.decode().splitlines() if one[:5] == "data:"]
    return [json.loads(one) for one in lines if one.strip() != "[DONE]"]


def chat_text(chunks: Iterable[Json]) -> str:
    """What the chunks of a chat completion say."""
    choices = (choice for one in chunks for choice in one.get("choices", ()))
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- asking by SDKs --------------------------------------------------------------------------

TRANSLATED: Final = ("claude", "gemini")
FORMATS: Final = [
    *(("chat", model) for model in ("gpt", *TRANSLATED)),
    ("completions", "instruct"),
    *(("responses", model) for model in ("gpt-five", *TRANSLATED)),
    *(("messages", model) for model in ("claude", "gpt", "gemini")),
]
"""Each of the clients' formats, at a provider that speaks it and at others."""


def say(
    guarded: Guarded,
    format_: str,
    model: str,
    text: str,
    script: Json,
    *,
    streams: bool,
    route: str = "guarded",
) -> str:
    """What the model says to a text, as an SDK of that format reads it."""
    head = scripted(**script)
    turn: Any = [{"role": "user", "content": text}]
    if format_ == "messages":
        with guarded.anthropic(route) as claude:
            asked: Any = {"model": model, "max_tokens": 4000, "messages": turn}
            if not streams:
                blocks = claude.messages.create(**asked, extra_headers=head).content
            else:
                with claude.messages.stream(**asked, extra_headers=head) as found:
                    pieces = "".join(found.text_stream)
                    blocks = found.get_final_message().content
                assert pieces == "".join(one.text for one in blocks if one.type == "text")
            return "".join(one.text for one in blocks if one.type == "text")
    with guarded.openai(route) as sdk:
        if format_ == "chat":
            chat: Any = sdk.chat.completions.create(
                model=model, messages=turn, stream=streams, extra_headers=head
            )
            if not streams:
                return str(chat.choices[0].message.content)
            return "".join(one.choices[0].delta.content or "" for one in chat if one.choices)
        if format_ == "completions":
            done: Any = sdk.completions.create(
                model=model, prompt=text, stream=streams, max_tokens=3000, extra_headers=head
            )
            chunks = done if streams else [done]
            return "".join(one.choices[0].text for one in chunks if one.choices)
        if not streams:
            return sdk.responses.create(model=model, input=text, extra_headers=head).output_text
        with sdk.responses.stream(model=model, input=text, extra_headers=head) as found:
            deltas = "".join(one.delta for one in found if one.type == "response.output_text.delta")
            final = found.get_final_response().output_text
        assert deltas == final
        return final
