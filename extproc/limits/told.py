"""What is said of limits: errors and headers for clients, figures for the operator."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Protocol

from extproc import headers as h
from extproc.catalogue import NANO
from extproc.errors import ClientError, bad_request
from extproc.limits.rule import Rule
from extproc.state.counters import Outcome, Standing

PAYMENT_REQUIRED: Final = 402
UNAVAILABLE_WAIT: Final = 1.0
"""Seconds after which it is worth asking again when the store of limits is away."""
_COUNTED: Final = frozenset({"bucket", "window", "rolling"})
_WORDS: Final = {
    "requests": "requests",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "tokens": "tokens",
    "concurrent": "requests at once",
}


class Told(Protocol):
    """What metrics hear of limits. Names of rules and classes come from the configuration."""

    def decided(self, rule: str, outcome: str) -> None:
        """A rule made a difference: `refused`, `too_large`, `downgraded`, `observed`. Beside rules'
        names: `capacity`, the levels' own ceilings (`refused`, `observed`, `uncounted` while the
        store is away); `queue` (`waiting`, `priority_ignored`); `store` (`unavailable`,
        `uncounted`); `key`, the limits that keys have of their own (also `unreadable`)."""
        ...

    def waited(self, class_: str, seconds: float) -> None:
        """A request had its turn after so many seconds in the queue."""
        ...

    def dropped(self, class_: str, reason: str) -> None:
        """A request left the queue, or found no place in it: `expired`, `displaced`, `full`,
        `gone`, `denied`, `unavailable`."""
        ...

    def away(self, decision: str) -> None:
        """Something was decided without the shared store."""
        ...

    def crossed(self, rule: str, share: float) -> None:
        """That much of a limit is used, said once a window; 0: a runaway."""
        ...

    def headroom(self, target: str, share: float) -> None:
        """The part [0, 1] that is left of a target's fullest ceiling."""
        ...


def label(rule: Rule) -> str:
    """What a rule is called in metrics: keys' own limits, of which there are many, all the same."""
    return "key" if rule.scope.startswith("k|") else rule.name


# --- errors -------------------------------------------------------------------------------


def refused(rule: Rule, amount: int, standing: Standing, wait: float, now: float) -> ClientError:
    """429, or 402, for a request that finds nothing left of a limit. `wait`: seconds until the
    whole request fits; `now`: epoch seconds."""
    if rule.form == "concurrent":
        text = f"{_number(rule, standing.used)} of {_amount(rule, rule.most)} are being served."
    else:
        text = (
            f"{_number(rule, standing.used)} of {_amount(rule, rule.most)} are "
            f"used, and this request asks for {_number(rule, amount)}; it resets "
            f"{_when(standing.reset, now)}."
        )
    text = f"The limit '{rule.name}' is reached: {text} {_again(wait)}{_more(rule)}"
    paid = rule.status == PAYMENT_REQUIRED
    return ClientError(
        rule.status,
        "insufficient_quota" if paid else "rate_limit_error",
        "budget_exceeded" if rule.budget or paid else "rate_limit_exceeded",
        text,
        retry_after=wait,
    )


def no_room(targets: Iterable[str], wait: float) -> ClientError:
    """429: every level is at its ceiling."""
    names = ", ".join(dict.fromkeys(targets))
    text = f"Every provider of the chain is at its rate limit ({names}). {_again(wait)}"
    return ClientError(429, "rate_limit_error", "rate_limit_exceeded", text, retry_after=wait)


def too_large(rule: Rule, amount: int, param: str | None) -> ClientError:
    """400: a request that the limit could never hold."""
    whole = "a single request" if rule.form == "request" else "the limit as a whole"
    text = (
        f"The request asks for {_amount(rule, amount)}; '{rule.name}' allows {whole} "
        f"{_number(rule, rule.most)}.{_more(rule)}"
    )
    return bad_request(text, param, "request_exceeds_limit")


def unbounded(rule: Rule) -> ClientError:
    """400: a strict limit on a request whose input nobody can bound."""
    text = (
        f"'{rule.name}' is a strict limit, and how many tokens this request's input has cannot be "
        "bounded: it refers to content that is not in it (a remote image, audio or file, a file's "
        "id, or an earlier response). Send the content itself."
    )
    return bad_request(text, "messages", "input_not_bounded")


def unpriced(rule: Rule, target: str) -> ClientError:
    """400: a strict limit on money, and a target whose price nobody knows."""
    text = f"'{rule.name}' is a strict limit on money, and the price of '{target}' is not known."
    return bad_request(text, "model", "price_not_known")


def queue_error(outcome: Outcome, class_: str, wait: float, waited: float) -> ClientError:
    """503 for a request that did not get its turn. `waited`: seconds."""
    if outcome.what == "displaced":
        code = "displaced"
        text = f"The queue is full, and a request of a higher class than '{class_}' took the place."
    elif outcome.what == "full":
        code = "queue_full"
        of = {"class": f" for class '{class_}'", "tenant": " for this tenant",
              "feature": " for this feature"}.get(outcome.full, "")  # fmt: skip
        text = f"All providers are busy, and the queue is full{of}."
    else:
        code = "queue_timeout"
        text = f"The request waited {waited:.1f} seconds and did not get its turn."
    return ClientError(503, "server_error", code, f"{text} {_again(wait)}", retry_after=wait)


def unavailable(wait: float | None) -> ClientError:
    """503: the store of limits is away, and what is asked for is not given on trust."""
    text = "What is left of the limits cannot be told at the moment."
    wait = UNAVAILABLE_WAIT if wait is None else wait
    return ClientError(503, "server_error", "limits_unavailable", text, retry_after=wait)


def misconfigured() -> ClientError:
    """503: nobody can tell what a key may use."""
    text = "The limits of this key cannot be read, so nothing is let through with it."
    return ClientError(503, "server_error", "misconfigured_limits", text)


def _again(wait: float) -> str:
    seconds = max(1, math.ceil(wait))
    return f"Try again in {seconds:,} second{'' if seconds == 1 else 's'}."


def _more(rule: Rule) -> str:
    return f" More: {rule.upgrade_url}" if rule.upgrade_url else ""


def _when(seconds: float, now: float) -> str:
    # The store's clock is a few milliseconds off ours: rounded up, midnight would be a second late.
    moment = datetime.fromtimestamp(round(now + seconds), UTC)
    return f"in {math.ceil(seconds):,} seconds, at {moment:%Y-%m-%dT%H:%M:%SZ}"


def _number(rule: Rule, units: float) -> str:
    if rule.measure == "usd":
        text = f"{units / NANO:,.9f}".rstrip("0")
        whole, _, part = text.partition(".")
        return f"${whole}.{part.ljust(2, '0')}"
    return f"{math.ceil(units):,}"


def _amount(rule: Rule, units: float) -> str:
    number = _number(rule, units)
    return number if rule.measure == "usd" else f"{number} {_WORDS[rule.measure]}"


# --- headers ------------------------------------------------------------------------------


def rate_limits(rules: Sequence[Rule], standings: Sequence[Standing]) -> list[tuple[str, str]]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of the limit of each kind that has
    the smallest share left. Limits that are only observed are not told."""
    best: dict[bool, tuple[float, Rule, Standing]] = {}
    for rule, standing in zip(rules, standings, strict=False):
        measure = rule.measure
        if (
            measure in {"usd", "concurrent"}
            or rule.observe
            or rule.guard
            or rule.form not in _COUNTED
        ):
            continue
        left = (rule.most - standing.used) / rule.most
        kind = measure == "requests"
        if kind not in best or left < best[kind][0]:
            best[kind] = (left, rule, standing)
    found: list[tuple[str, str]] = []
    for kind, fields in ((True, _REQUESTS), (False, _TOKENS)):
        if kind in best:
            _, rule, standing = best[kind]
            remaining = max(0, math.floor(rule.most - standing.used + 1e-6))
            limit, left_field, reset = fields
            found.append((limit, str(rule.most)))
            found.append((left_field, str(remaining)))
            found.append((reset, span(standing.reset)))
    return found


def _fields(unit: str) -> tuple[str, str, str]:
    return (
        f"{h.RATE_LIMIT}limit-{unit}",
        f"{h.RATE_LIMIT}remaining-{unit}",
        f"{h.RATE_LIMIT}reset-{unit}",
    )


_REQUESTS: Final = _fields("requests")
_TOKENS: Final = _fields("tokens")


def span(seconds: float) -> str:
    """A length of time as OpenAI writes it in headers: `120ms`, `1s`, `6m0s`, `24h0m0s`. Rounded up
    to milliseconds, above a minute to seconds."""
    millis = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if millis < 1000:  # noqa: PLR2004 - a second
        return f"{millis}ms" if millis else "0s"
    if millis < 60_000:  # noqa: PLR2004 - a minute
        return f"{millis / 1000:g}s"
    minutes, rest = divmod(-(-millis // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def budgets(rules: Sequence[Rule], standings: Sequence[Standing]) -> dict[str, float]:
    """Share [0, 1] of each budget that is used, by its name."""
    return {
        rule.name: min(1.0, max(0.0, standing.used / rule.most))
        for rule, standing in zip(rules, standings, strict=False)
        if rule.budget
    }


def budget_header(spent: dict[str, float]) -> str:
    """`team-month=0.83, session=0.10`: rounded down, so that 1.00 is the end."""
    return ", ".join(
        f"{_token(name)}={math.floor(share * 100 + 1e-9) / 100:.2f}"
        for name, share in spent.items()
    )


@lru_cache(maxsize=4096)
def _token(name: str) -> str:
    """A rule's name as it can stand before `=`: what is no letter, digit, `.`, `_` becomes `-`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-")
