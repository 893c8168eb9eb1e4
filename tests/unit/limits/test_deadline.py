from __future__ import annotations

import pytest

from extproc.errors import ClientError
from extproc.limits.deadline import ready_to_wait

NOW = 1_795_435_200.0  # 2026-11-23T12:00:00Z


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2.5", 2.5),
        (" 2.5s ", 2.5),
        ("500ms", 0.5),
        ("1m", 60.0),
        ("0", 0.0),
        ("1795435210", 10.0),
        ("1795435210.5", 10.5),
        ("1795435000", 0.0),
        ("2026-11-23T12:00:30Z", 30.0),
        ("2026-11-23T13:00:30+01:00", 30.0),
        ("2026-11-23T11:00:00Z", 0.0),
    ],
)
def test_a_deadline_is_how_long_the_client_waits(value: str, seconds: float) -> None:
    assert ready_to_wait(value, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "-1", "1e9", "nan", "inf", "2026-11-23T12:00:30", "2026-13-01T00:00:00Z",
     "9" * 40, "5 m", "0x10", "٣", "2026-11-23T12:00:30Z" + "0" * 80],
)  # fmt: skip
def test_what_is_no_deadline_is_the_clients_mistake(value: str) -> None:
    with pytest.raises(ClientError) as caught:
        ready_to_wait(value, NOW)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_deadline"
    assert caught.value.param == "x-tollgate-deadline"
