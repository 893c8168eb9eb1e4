"""Marks of tenants."""

from __future__ import annotations

import re

from extproc.cache.whose import tenant_mark

SECRET = b"s" * 32


def test_the_same_each_time_and_for_nobody_else() -> None:
    mark = tenant_mark(SECRET, "acme")
    assert re.fullmatch("[0-9a-f]{32}", mark)
    assert mark == tenant_mark(SECRET, "acme")
    others = {tenant_mark(SECRET, name) for name in ("acme ", "Acme", "acm", "\ud800")}
    others.add(tenant_mark(b"t" * 32, "acme"))
    assert len(others | {mark}) == 6


def test_nobody_has_no_mark() -> None:
    assert tenant_mark(SECRET, None) == tenant_mark(SECRET, "") == ""
