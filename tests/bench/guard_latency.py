"""What the guard costs a conversation through Envoy: until the first word, and until the last.

`python -m tests.bench.guard_latency`: three routes of one gateway (no guard; values replaced and
put back; answers looked through as well) take turns, one request at a time. Each request of 4 kB is
new and holds six values; the answer is a stream of 100 words at 100 a second that begins with a
placeholder. The last line of stdout is one JSON object.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import click
import msgspec
import uvloop

from extproc.stack import Options, Stack, StackError
from tests.bench.gateway import Running, running
from tests.bench.processes import NotReadyError
from tests.bench.report import aligned

CONFIG: Final = Path(__file__).with_name("guard.yaml")
ARMS: Final = ("none", "restored", "reviewed")
VALUES: Final = (
    "My name is Mary Major, write to mary.major@corp.example or call +49 30 901820. "
    "The card is 4111 1111 1111 1111, my IBAN DE89 3702 0044 0532 0130 00, the server 10.20.30.40."
)
FILLING: Final = (
    "The parcel came on the third and the box was open, so nothing that I had ordered was in it. "
)
SIZE: Final = 4_000
WORDS: Final = 100
RATE: Final = 100
ANSWER: Final = "Dear <PERSON_1>, " + "we are sorry about this. " * 20


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of one request."""

    first: float
    """Until the first word of its stream."""
    last: float
    """Until the end of its stream."""
    whole: float
    """Until the end of an answer that is no stream."""


def _body(number: int, *, stream: bool) -> bytes:
    """A request that nobody has seen: nothing that was found before counts."""
    text = f"Order {number} of this morning. {VALUES}\n" + FILLING * (SIZE // len(FILLING))
    paragraphs = [f"{text[at : at + 800]} ({number})" for at in range(0, SIZE, 800)]
    messages = [{"role": "user", "content": one} for one in paragraphs]
    return msgspec.json.encode({"model": "gpt", "messages": messages, "stream": stream})


async def _ask(
    session: aiohttp.ClientSession, gateway: Running, arm: str, body: bytes, script: dict[str, Any]
) -> tuple[float, float]:
    """Milliseconds to the first word, and to the end."""
    headers = {
        "content-type": "application/json",
        "x-tollgate-feature": arm,
        "x-sim-script": msgspec.json.encode(script).decode(),
    }
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    began = time.perf_counter()
    first = 0.0
    seen = b""
    async with session.post(url, data=body, headers=headers) as response:
        async for piece in response.content.iter_any():
            seen += piece
            if not first and (b'"content":"D' in seen or b'"content": "D' in seen):
                first = time.perf_counter() - began
        if response.status != 200:
            raise NotReadyError(f"{arm}: {response.status} {seen[:200]!r}")
    return first * 1e3, (time.perf_counter() - began) * 1e3


async def _measure(session: aiohttp.ClientSession, gateway: Running, arm: str, number: int) -> Took:
    streamed = {"text": ANSWER, "events": WORDS, "rate": RATE}
    first, last = await _ask(session, gateway, arm, _body(number, stream=True), streamed)
    _, whole = await _ask(session, gateway, arm, _body(-1 - number, stream=False), {"text": ANSWER})
    return Took(first, last, whole)


def _without_ledger(options: Options, env: Any) -> Stack:
    return Stack(replace(options, ledger=False), env)


async def run(rounds: int) -> dict[str, Any]:
    """Measure and print; the JSON object."""
    took: dict[str, list[Took]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory(prefix="tgb-") as folder:
        async with (
            running(Path(folder), CONFIG, _without_ledger) as gateway,
            aiohttp.ClientSession() as session,
        ):
            for number in range(rounds + 2):
                for turn in range(len(ARMS)):
                    arm = ARMS[(number + turn) % len(ARMS)]
                    one = await _measure(session, gateway, arm, number)
                    if number > 1:  # connections and lazy imports come before
                        took[arm].append(one)
                await asyncio.sleep(0)
    rows = [["route", "first word ms", "more", "end of stream ms", "more", "whole ms", "more"]]
    found: dict[str, Any] = {}
    for arm in ARMS:
        row = [arm]
        for name in ("first", "last", "whole"):
            here = [getattr(one, name) for one in took[arm]]
            more = median(
                mine - getattr(other, name) for mine, other in zip(here, took["none"], strict=True)
            )
            row += [f"{median(here):.1f}", f"{more:+.1f}"]
            found.setdefault(arm, {})[name] = round(median(here), 2)
            found[arm][f"{name}_more"] = round(more, 2)
        rows.append(row)
    print(aligned(rows))
    return found


@click.command()
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(3),
              help="Requests of each kind and route.")  # fmt: skip
def main(*, rounds: int) -> None:
    """Measure what the guard adds to a request's time."""
    try:
        found = uvloop.run(run(rounds))
    except (StackError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
