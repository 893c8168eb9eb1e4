"""Numbering plans of all countries, as `phonenumbers` has them, made fast to ask.

The library takes a number apart anew for each question (some 150 µs); in a page of numbers there
are thousands. Of its tables each country's lengths and forms are put together once, when the first
number of that country is met.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

_LONGEST_CODE: Final = 3
"""Digits of a country's calling code (ITU-T E.164)."""
_KINDS: Final = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip",
    "pager", "uan", "voicemail",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of a calling code, without it."""

    sizes: frozenset[int]
    """Digits that they have, those that can be called from nearby only included."""
    form: re.Pattern[str]
    prefix: str
    """What is dialled in front within the country; empty if nothing is."""

    def asked(self, digits: str) -> tuple[bool, bool]:
        """Whether the plan has these digits, and whether it has numbers of that length; a prefix in
        front does not count."""
        if self.prefix and digits.startswith(self.prefix) and not self._has(digits):
            bare = digits[len(self.prefix) :]
            if self._has(bare) or len(digits) not in self.sizes:
                digits = bare
        return self._has(digits), len(digits) in self.sizes

    def _has(self, digits: str) -> bool:
        return len(digits) in self.sizes and self.form.fullmatch(digits) is not None


def abroad(digits: str) -> tuple[bool, bool]:
    """The same for a number that begins with a country's calling code."""
    for size in range(1, _LONGEST_CODE + 1):
        if digits[:size] and int(digits[:size]) in COUNTRY_CODE_TO_REGION_CODE:
            return plan(int(digits[:size])).asked(digits[size:])
    return False, False


@cache
def plan(code: int) -> Plan:
    """The plan of a calling code that there is; some milliseconds the first time, 215 there are."""
    regions = COUNTRY_CODE_TO_REGION_CODE[code]
    # For codes that it lists the library has a table, whatever its annotations say.
    tables: list[Any] = [
        PhoneMetadata.metadata_for_region_or_calling_code(code, region) for region in regions
    ]
    main = tables[0]
    sizes = {
        size
        for size in (
            *main.general_desc.possible_length,
            *main.general_desc.possible_length_local_only,
        )
        if size > 0
    }
    forms = []
    for table in tables:
        kinds = dict.fromkeys(
            kind.national_number_pattern
            for kind in (getattr(table, name) for name in _KINDS)
            if kind is not None and kind.national_number_pattern
        )
        if kinds:
            general = table.general_desc.national_number_pattern
            forms.append(rf"(?=(?:{general})\Z)(?:{'|'.join(kinds)})")
    prefix = main.national_prefix or ""
    return Plan(frozenset(sizes), re.compile("|".join(forms)), prefix)
