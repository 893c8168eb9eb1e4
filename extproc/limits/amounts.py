"""How much a request takes before anybody knows: tokens and money, estimated or proven.

Estimated: the input as counted from its bytes, and the output that the request allows
(`max_tokens` for each answer) or, where it does not say, what answers of its route and model have
had lately. Proven, for strict limits: what the input cannot pass, and an output that goes up as the
most the provider may produce.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from extproc.catalogue import PER, Price
from extproc.limits import Asking, Candidate
from extproc.limits.rule import Measure, Rule
from extproc.limits.told import too_large, unbounded, unpriced

MOST_UNITS: Final = 2**53 - 1
"""Of anything: beyond it a double no longer tells neighbours apart, and stores count in doubles."""
FIRST_OUTPUT: Final = 1000
"""Tokens that an answer is taken to have while nothing is known of its route and model."""
STRICT_OUTPUT: Final = 4096
"""Tokens that an answer may have under a strict limit if the request does not say: as many as the
older models could at most. Whoever wants more says `max_tokens`."""
MARGIN: Final = 2
"""An input estimated at less than half of what a long-context price begins with is not billed at
it: estimates are seldom off by more than that."""
TOKENS: Final = frozenset({"input_tokens", "output_tokens", "tokens"})
REQUEST_FORM: Final = "request"

Amounts = Mapping[Measure, int]


@dataclass(frozen=True, slots=True)
class Reserve:
    """What is reserved for a request."""

    tokens: tuple[int, int]
    """Input and output, estimated."""
    estimated: Amounts
    floor: Amounts
    """The same without an output that is only guessed: what the request certainly wants."""
    proven: Amounts | None
    """For strict limits; None: there is none."""
    cap: int | None
    """What has to go up as the most tokens of an answer; None: as the client has it."""

    def of(self, rule: Rule, *, binding: bool) -> int:
        """Units of a rule. A guess is cut to what the limit holds at most: it is no reason to
        refuse. `binding`: the rule is enforced."""
        if rule.form == "trend":
            return 0
        if rule.strict and binding and self.proven is not None:
            return self.proven[rule.measure]
        amount = self.estimated[rule.measure]
        if amount > rule.most:
            return max(self.floor[rule.measure], rule.most)
        return amount


def reserve(
    asking: Asking, learned: int | None, binding: Sequence[Rule], *, money: bool
) -> Reserve:
    """What to reserve. `binding`: the rules that are enforced, ceilings of a single request among
    them; `learned`: tokens of an answer. `money`: somebody wants to know the price too. Raises
    ClientError 400 for what a strict rule cannot bound, or a ceiling has no room for."""
    candidates = [candidate for level in asking.levels for candidate, _ in level]
    strict = [rule for rule in binding if rule.strict and rule.measure != "requests"]
    if strict:
        _boundable(asking, strict, candidates)
    answers = min(max(1, asking.answers), MOST_UNITS)
    known = _known_cap(candidates)
    said = None if asking.output is None else min(max(0, asking.output), known)
    cap: int | None = None
    if not asking.generates:
        each, said = 0, 0
    elif said is not None:
        each = said
        cap = said if strict else None
    else:
        cap = _narrowed(asking, binding, candidates, answers)
        if strict:
            cap = each = min(cap, STRICT_OUTPUT, known)
        else:
            each = min(FIRST_OUTPUT if learned is None else learned, cap, known)
            cap = None if cap == MOST_UNITS else min(cap, known)
    output = each * answers
    price = partial(_dear, candidates) if money and not asking.own_key else _nothing
    estimated = amounts(asking.input, output, price(asking.input, output))
    floor = estimated
    if said is None and not strict:
        floor = amounts(asking.input, 0, price(asking.input, 0))
    proven = None
    if strict:
        bound = asking.bound or 0
        proven = amounts(bound, output, price(bound, output, proven=True))
    tokens = (estimated["input_tokens"], estimated["output_tokens"])
    return Reserve(tokens, estimated, floor, proven, cap)


def amounts(read: int, written: int, nano: int) -> dict[Measure, int]:
    """Units by measure, of one request with so many tokens at such a price."""
    read, written = min(max(0, read), MOST_UNITS), min(max(0, written), MOST_UNITS)
    return {
        "requests": 1,
        "input_tokens": read,
        "output_tokens": written,
        "tokens": min(read + written, MOST_UNITS),
        "usd": min(max(0, nano), MOST_UNITS),
        "concurrent": 1,
    }


def price_of(candidate: Candidate, tokens: tuple[int, int]) -> int:
    """Nano-dollars that (input, output) tokens cost at one target, estimated; 0 if unknown."""
    return min(_dear((candidate,), *tokens), MOST_UNITS)


def _nothing(read: int, written: int, *, proven: bool = False) -> int:  # noqa: ARG001 - like _dear
    return 0


def _known_cap(candidates: Iterable[Candidate]) -> int:
    """Tokens that no candidate's answer passes."""
    caps = [MOST_UNITS if one.output_cap is None else one.output_cap for one in candidates]
    return max(caps, default=MOST_UNITS)


def _boundable(asking: Asking, strict: Sequence[Rule], candidates: Sequence[Candidate]) -> None:
    """Raises ClientError for what a strict rule would have to count and nobody can bound."""
    for rule in strict:
        if asking.bound is None and rule.measure != "output_tokens":
            raise unbounded(rule)
        if rule.measure == "usd":
            for one in candidates:
                if one.price is None:
                    raise unpriced(rule, one.target.target)


def _narrowed(
    asking: Asking, binding: Sequence[Rule], candidates: Sequence[Candidate], answers: int
) -> int:
    """Tokens that each answer may have at most so that ceilings of a request, and strict limits,
    hold; MOST_UNITS: as many as it likes. Raises ClientError where there is room for none."""
    least = MOST_UNITS
    for rule in binding:
        ceiling = rule.form == REQUEST_FORM
        if not ceiling and (not rule.strict or rule.on_exhausted == "downgrade"):
            continue
        read = (asking.bound or 0) if rule.strict else asking.input
        if rule.measure == "output_tokens":
            room = rule.most
        elif rule.measure == "tokens":
            room = rule.most - read
        elif rule.measure == "usd" and not asking.own_key:
            into, out = _rates(candidates, read, proven=rule.strict)
            room = (rule.most * PER - read * into) // out if out else MOST_UNITS
        else:
            continue
        if room < answers:
            raise too_large(rule, rule.most - room + answers, "messages")
        least = min(least, room // answers)
    return least


# --- money --------------------------------------------------------------------------------


def _dear(candidates: Iterable[Candidate], read: int, written: int, *, proven: bool = False) -> int:
    """Nano-dollars at the dearest of the candidates, rounded up. One without a price counts as
    none: its cost is unknown."""
    most = 0
    for one in candidates:
        if one.price is not None:
            into, out = _rate(one.price, read, proven=proven)
            most = max(most, read * into + written * out)
    return -(-most // PER)


def _rates(candidates: Iterable[Candidate], read: int, *, proven: bool) -> tuple[int, int]:
    """The dearest input and the dearest output, of whichever candidates."""
    found = [_rate(one.price, read, proven=proven) for one in candidates if one.price is not None]
    return max((one for one, _ in found), default=0), max((one for _, one in found), default=0)


def _rate(price: Price, read: int, *, proven: bool) -> tuple[int, int]:
    """Nano-dollars per million tokens of input and output. Proven: as if every token were of the
    dearest kind that is billed; estimated: plain text. With a long-context tier the dearer one,
    where the input may reach it."""
    into, out = (_into(price), _out(price)) if proven else (price.input, price.output)
    if price.long is not None and (read if proven else read * MARGIN) > price.above:
        long = _rate(price.long, 0, proven=proven)
        return max(into, long[0]), max(out, long[1])
    return into, out


def _into(price: Price) -> int:
    written = max(price.cache_write, price.cache_write_1h)
    return max(price.input, price.cached_input, written, price.audio_input)


def _out(price: Price) -> int:
    return max(price.output, price.reasoning, price.audio_output)


# --- what is learned ----------------------------------------------------------------------

KEPT: Final = 4096
"""Pairs of route and model that something is known of."""
WEIGHT: Final = 1 / 16
"""Of the newest answer in the mean: about the last thirty count."""


@dataclass(slots=True)
class _Seen:
    answers: int
    mean: float
    variance: float
    seconds: float


class Learned:
    """What answers have had lately, by route and model.

    Exponentially weighted mean and variance (West's incremental form); the first answers count
    evenly, until there are enough of them for the weight.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()

    def output(self, route: str, model: str) -> int | None:
        """Tokens that an answer is taken to have: the mean and one standard deviation of the
        latest. None: there were none."""
        found = self._seen.get((route, model))
        if found is None:
            return None
        return max(1, math.ceil(found.mean + math.sqrt(found.variance)))

    def seconds(self, route: str, model: str) -> float | None:
        """How long a request holds its place among those in flight, on average."""
        found = self._seen.get((route, model))
        return None if found is None else found.seconds

    def saw(self, route: str, model: str, output: float, seconds: float) -> None:
        """An answer of so many tokens has come, so long after its request was admitted."""
        key = (route, model)
        found = self._seen.get(key)
        if found is None:
            self._seen[key] = _Seen(1, output, 0.0, seconds)
            if len(self._seen) > self._kept:
                self._seen.popitem(last=False)
            return
        self._seen.move_to_end(key)
        found.answers += 1
        weight = max(WEIGHT, 1 / found.answers)
        gap = output - found.mean
        found.mean += weight * gap
        found.variance = (1 - weight) * (found.variance + weight * gap * gap)
        found.seconds += weight * (seconds - found.seconds)
