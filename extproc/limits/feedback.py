"""What providers say of their own ceilings, as corrections of ours.

Only what is configured is corrected: a ceiling that nobody wrote down has no counter. A header that
cannot be read says nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from extproc.limits.ceilings import own_counters, shared_counters
from extproc.policy import TargetPolicy
from extproc.retry import retry_after, seconds
from extproc.state.counters import Correction, Counter

BUSY: Final = frozenset({429, 503, 529})
"""Answers with which a provider asks to be left alone. 529 is Anthropic's, overloaded."""
LIMITED: Final = 429
PAUSE: Final = 1.0
"""Seconds for which a level is passed over that said 429 and not for how long, as Bedrock does."""
LONGEST: Final = 3600.0
"""Seconds: whatever it said, a level is tried again in an hour."""
EVERY: Final = 0.25
"""Seconds between two corrections by answers of one target that went well: each answer tells the
same story, a little later."""
_KEPT: Final = 4096
"""Targets whose last correction is remembered."""

_TOLD: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "rpm": (
        ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"),
        ("x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"),
        ("x-ratelimit-limit-requests-minute", "x-ratelimit-remaining-requests-minute"),
        ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"),
        ("x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining"),
    ),
    "tpm": (
        ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"),
        ("x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"),
        ("anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining"),
    ),
    "itpm": (
        ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining"),
        ("x-ratelimit-limit-tokens-prompt", "x-ratelimit-remaining-tokens-prompt"),
    ),
    "otpm": (
        ("anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-remaining"),
        ("x-ratelimit-limit-tokens-generated", "x-ratelimit-remaining-tokens-generated"),
    ),
}
"""By ceiling: headers with a limit and what is left of it. OpenAI's, which Azure, Groq, xAI and
most others have taken over; Mistral's and Cerebras's, which name the minute; Anthropic's; Cohere's
of trial keys; Fireworks' of each direction. Groq's of requests are a day's: less than a minute's
only at the day's end, when they hold."""
_FIGURE: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


class Feedback:
    """What all targets of this process say. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def heard(
        self,
        target: TargetPolicy,
        status: int,
        headers: Mapping[str, str],
        wait: float | None = None,
    ) -> list[Correction]:
        """See `corrections`; of what went well no more than one answer of a target in EVERY
        seconds is heard."""
        if target.ceilings is None and target.provider_ceilings is None:
            return []
        now = self._clock()
        if status not in BUSY and now - self._last.get(target.target, -EVERY) < EVERY:
            return []
        found = corrections(target, status, headers, wait)
        if found:
            if len(self._last) >= _KEPT:
                self._last.clear()
            self._last[target.target] = now
        return found


def corrections(
    target: TargetPolicy, status: int, headers: Mapping[str, str], wait: float | None = None
) -> list[Correction]:
    """What an answer's head (names in small letters) says of the target's ceilings. `wait`: seconds
    that the error in the body asks for, if it does. Never raises.

    What is left of a limit holds for the target's own ceiling. Where only the provider's key has
    that ceiling it holds for it too, unless the provider's limit is the smaller one: then it is one
    of the model, of which there is no counter.
    """
    own, shared = own_counters(target), shared_counters(target)
    pause = _pause(status, headers, wait)
    mine = {name for name, _ in own}
    found = [Correction(counter, _left(name, counter, headers), pause) for name, counter in own]
    for name, counter in shared:
        left = None if name in mine else _left(name, counter, headers, shared=True)
        found.append(Correction(counter, left, None if own else pause))
    return [one for one in found if one.remaining is not None or one.until is not None]


def _left(
    name: str, counter: Counter, headers: Mapping[str, str], *, shared: bool = False
) -> float | None:
    """Units that are left of a ceiling; None: as many as it has, or nothing was said."""
    found = []
    for limit_header, header in _TOLD.get(name, ()):
        remaining, limit = _figure(headers.get(header)), _figure(headers.get(limit_header))
        smaller = shared and limit is not None and limit < counter.most
        if remaining is not None and not smaller:
            found.append(remaining)
    left = min(found, default=None)
    return left if left is not None and left < counter.most else None


def _figure(value: str | None) -> float | None:
    """A count as providers write it, never negative."""
    return float(value) if value is not None and _FIGURE.fullmatch(value.strip()) else None


def _pause(status: int, headers: Mapping[str, str], wait: float | None) -> float | None:
    """Seconds that the level is to be left alone; None: it need not be."""
    if status not in BUSY:
        return None
    asked = retry_after(headers) if wait is None else seconds(wait)
    if asked is None:
        asked = PAUSE if status == LIMITED else 0.0
    return min(asked, LONGEST) if asked > 0 else None
