"""What is asked, and what the simulator answers: the same for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tests.bench.processes import chat_request

MODEL = "gpt-4o-mini"
FEATURE = "x-tollgate-feature"
SCRIPT = "x-sim-script"
REFUSING = ("gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano")
"""Models of the targets `refuses-N` in gateway.yaml."""

LATENCY = 0.005
"""Seconds that the simulator takes for its answer's head. No provider answers at once; with 0
Envoy alone would be measured at a rate that nothing behind it could ever ask for."""
SHORT_EVENTS = 50
LONG_EVENTS = 2000
LONG_RATE = 100
"""Events a second of the long stream: a fast model."""

_QUESTION = """\
Thank you. The tracking page says that the parcel was returned to the sender because the address
was incomplete. I have moved in the meantime: the new address is in my account, but the order
still shows the old one. Could you send it again to the new address, and can I have it without
paying for the delivery a second time?"""
_EARLIER = """\
Good morning! Your parcel left our warehouse on the 5th and is with the carrier now. It should be
with you by Friday; the tracking number is in the mail we sent you."""
_TURNS = (
    ("system", "You are the support desk of a small shop. Answer in two plain sentences."),
    ("user", "Good morning. I ordered a kettle on the 3rd and it has not come. Where is it?"),
    ("assistant", _EARLIER),
    ("user", _QUESTION),
)
_ANSWER = (
    "I am sorry about that: the parcel did come back to us this morning. I have changed the "
    "order to the new address in your account and asked the warehouse to send it again today, "
    "free of charge. You will get a new tracking number by mail this evening, and the kettle "
    "should arrive on Thursday. If the address in your account is still incomplete, please "
    "tell me before noon so that I can stop the parcel and correct the label in time."
)


def script() -> dict[str, Any]:
    """The simulator's configuration: a whole answer is about 1 kB and takes `LATENCY`."""
    return {"*": {"text": _ANSWER, "latency": LATENCY}}


def turns() -> list[dict[str, str]]:
    """The messages of a request."""
    return [{"role": role, "content": text} for role, text in _TURNS]


def chat(
    *,
    feature: str | None = None,
    stream: bool = False,
    sim: Mapping[str, object] | None = None,
    extra: tuple[tuple[str, str], ...] = (),
    key: str = "simulated",
) -> bytes:
    """One request. `feature` chooses the chain of gateway.yaml, `sim` scripts the simulator."""
    body: dict[str, object] = {
        "model": MODEL,
        "messages": turns(),
        "temperature": 0.2,
        "max_tokens": 4000,
    }
    if stream:
        body["stream"] = True
    headers = list(extra)
    if feature is not None:
        headers.append((FEATURE, feature))
    if sim is not None:
        headers.append((SCRIPT, msgspec.json.encode(sim).decode()))
    return chat_request(body, headers, key=key)


def events(count: int, rate: float | None = None) -> dict[str, object]:
    """A script of a stream of `count` content events, `rate` a second."""
    paced = {} if rate is None else {"rate": rate}
    return {"events": count, "latency": LATENCY, **paced}


def refusals(levels: int) -> dict[str, object]:
    """A script by which the first `levels` levels of a walk answer 429."""
    return {"by": {model: {"status": 429} for model in REFUSING[:levels]}}
