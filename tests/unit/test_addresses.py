from __future__ import annotations

import pytest

from extproc.addresses import host_port, of_workers


def test_each_worker_has_its_own() -> None:
    assert of_workers("unix:/run/{n}.sock", 2) == ["unix:/run/0.sock", "unix:/run/1.sock"]
    assert of_workers("127.0.0.1:50051", 2) == ["127.0.0.1:50051", "127.0.0.1:50052"]
    assert of_workers("unix:/run/one.sock", 1) == ["unix:/run/one.sock"]


@pytest.mark.parametrize(
    "listen", ["unix:/run/one.sock", "nowhere", "host:", ":1", "host:0", "a:70000"]
)
def test_what_is_no_address_for_two_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match=r"unix:|HOST:PORT"):
        of_workers(listen, 2)


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert host_port("[::1]:80") == ("[::1]", 80)
