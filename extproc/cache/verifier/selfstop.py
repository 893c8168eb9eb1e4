"""When audits say that serving has become wrong.

A Shiryaev-Roberts detector over bets against "of the served, no more than `allowed` are wrong":
each audit multiplies a bet's capital by 1 + stake · (wrong - allowed), which is a fair game while
that holds, so the capital, with one unit put in before every audit, reaches `ALARM` no more often
than once in `ALARM` audits (Shin, Ramdas, Rinaldo, E-detectors, 2022, section 2). Three stakes,
averaged: one for answers that have all changed, which needs about three audits, and two for errors
a few times too many.
"""

from __future__ import annotations

from msgspec import Struct, field

ALARM = 1_000.0
"""Mean number of audits between false alarms, at the very edge of what is allowed; far more
inside."""
_STAKES = (0.02, 0.1, 0.3)
_MOST = 0.5


class SelfStop(Struct):
    """Capitals of the bets. One object a partition; it is a part of what is saved."""

    capital: list[float] = field(default_factory=lambda: [0.0] * len(_STAKES))

    def audited(self, *, wrong: bool, allowed: float) -> bool:
        """Takes an audit in; True when serving has to stop. `allowed` is the share of wrong answers
        among those served that keeps the promise, 0 to 1."""
        edge = min(max(allowed, 1e-6), _MOST)
        self.capital = [
            (one + 1.0) * (1.0 + stake / edge * (float(wrong) - edge))
            for one, stake in zip(self.capital, _STAKES, strict=True)
        ]
        return sum(self.capital) / len(self.capital) >= ALARM

    def again(self) -> None:
        """Starts anew, with serving."""
        self.capital = [0.0] * len(_STAKES)
