"""Inputs to start from, written by hand after the providers' documentation."""

from __future__ import annotations

import json
from typing import Any, Final

from google.protobuf import text_format

from extproc.headers import NAMESPACE
from extproc.pb.metadata_pb2 import Metadata
from tests.fuzz.mutate import framed

_EVENT_HEADERS: Final = (
    b"\x0b:event-type\x07\x00\x11contentBlockDelta"
    b"\x0d:content-type\x07\x00\x10application/json"
    b"\x0d:message-type\x07\x00\x05event"
)
_EVERY_HEADER: Final = (
    b"\x01a\x00\x01b\x01\x01c\x02\x80\x01d\x03\x80\x00\x01e\x04\x00\x00\x00\x01"
    b"\x01f\x05\x00\x00\x00\x00\x00\x00\x00\x01\x01g\x06\x00\x02\x00\xff\x01h\x07\x00\x02\xc3\xbc"
    b"\x01i\x08\x00\x00\x01\x8c\x00\x00\x00\x00\x01j\x09" + bytes(range(16))
)

_POLICIES: Final[tuple[dict[str, Any], ...]] = (
    {"route": "r", "chain": "c", "models": {"*": "t"}, "walk_on": ["content_policy"]},
    {"chains": {"c": [{"t": 2, "u": 1}]}, "targets": {}},
    {
        "provider": "p",
        "system": "openai",
        "dialect": "openai",
        "model": "m",
        "timeout": "1.5",
        "simulator": True,
        "price": {"input": "1", "output": "2"},
        "features": ["tools"],
        "context_window": 1000,
        "base_path": None,
    },
)


def _policy(fields: dict[str, Any]) -> bytes:
    metadata = Metadata()
    metadata.filter_metadata[NAMESPACE].update(fields)
    return text_format.MessageToString(metadata).encode()


PARSERS: Final[dict[str, tuple[bytes, ...]]] = {
    "strict_json": (
        b"{}",
        b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": true, "n": 1}',
        b'{"a": 1.5e10, "b": [null, true, false, "\\u00fc\\ud83d\\ude00"], "c": {"a": -0.0}}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": "\\ud800"}}',
        b'{"a": NaN, "b": 1e400}',
        b'{"a": ' + b"1" * 309 + b"}",
        b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'\xef\xbb\xbf{"a": "\xff"} x',
    ),
    "sse": (
        b'data: {"a": 1}\n\nevent: x\ndata: {"b": [2]}\n\ndata: [DONE]\n\n',
        b"\xef\xbb\xbf: comment\r\nid: 7\r\nretry: 10\r\ndata: a\r\ndata\r\n\r\n",
        b"data: a\rdata:b\r\revent: e\n\ndata: \xff",
    ),
    "event_stream": (
        framed(_EVENT_HEADERS, b'{"contentBlockIndex":0,"delta":{"text":"Hi"}}')
        + framed(b"\x0f:exception-type\x07\x00\x13throttlingException", b'{"message":"slow"}'),
        framed(_EVERY_HEADER, b"") + framed(b"", b"x"),
    ),
    "policy": tuple(map(_policy, _POLICIES)),
    "limits": tuple(
        json.dumps(one).encode()
        for one in (
            {"tokens": "10000/d", "requests": ["10/s burst 2x", "1_000/h rolling"]},
            {
                "user,model": {"usd": {"limit": "0.50/mo", "status": 402, "name": "month"}},
                "strict": True,
                "timezone": "Europe/Berlin",
                "on_exhausted": {"downgrade": "cheap"},
                "priority": "low",
            },
            {
                "runaway": {"factor": 10, "at_least": "1/h", "window": "1m", "slow": "10/m"},
                "all": {"concurrent": 5, "mode": "observe", "upgrade_url": "https://x.example"},
            },
        )
    ),
    "guard": (
        b"Mail a.b+c@example.co.uk or john [at] example [dot] com, tel. +44 20 7946 0958 ext. 12",
        (
            b"card 4111 1111 1111 1111, "
            b"iban DE89 3704 0044 0532 0130 00, ssn 123-45-6789, 943 476 5919"
        ),
        (
            b"password: Sommer2024! "
            b"postgres://admin:s3cr@t@db.example.com/x api_key = 'sk-ab12cd34ef56gh78ij90'"
        ),
        (
            b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln "
            b"00:1B:44:11:3A:B7 192.168.0.14 fe80::1ff:fe23:4567:890a"
        ),
        b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIGl\n-----END EC PRIVATE KEY-----",
        (
            b"passport no. C01X00T47, "
            b"driver's license D1234567, DNI 12345678Z, RSSMRA85T10A562S, L01X00T471"
        ),
        (
            "4\u200b111 \uff11\uff11\uff11\uff11 \u0661\u0661\u0661\u0661 1111 "
            "\u7535\u8bdd13812345678"
        ).encode(),
        b"Dear Mr. John Smith, 12 High Street, London, born on 12/05/1985; falcon 9, AC-1234",
        (
            b""
            b"P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"
        ),
    ),
}
