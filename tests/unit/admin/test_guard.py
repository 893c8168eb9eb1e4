"""Who may use the admin port, and every way to pretend."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from extproc.admin.guard import Guard, is_loopback, token_of
from extproc.admin.http import serve
from tests.unit.admin.conftest import Open
from tests.unit.admin.serving import Stores, app, expose, parts

TOKEN = "correct-horse"
ROUTES = [
    *(("GET", "/keys"), ("POST", "/keys"), ("GET", "/keys/abcdefghijkl"), ("GET", "/keys/export")),
    *(("POST", "/keys/import"), ("POST", "/keys/abcdefghijkl/rotate"), ("GET", "/usage")),
    *(("POST", "/keys/abcdefghijkl/revoke"), ("GET", "/usage/records"), ("GET", "/tail")),
    *(("GET", "/usage/requests/x"), ("GET", "/report"), ("GET", "/nowhere"), ("PUT", "/keys")),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nothing_without_the_token(
    method: str, path: str, kept: Stores, opened: Open
) -> None:
    asked = await opened(app(kept, TOKEN))
    for sent in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        async with asked.request(method, path, headers=sent) as response:
            assert response.status == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert set((await response.json())["error"]) == {"message"}


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer ",
        "Bearer",
        "Bearer correct-hors",
        "Bearer correct-horse1",
        "correct-horse",
        "Bearer é",
    ],
)
async def test_wrong_tokens(sent: str, kept: Stores, opened: Open) -> None:
    asked = await opened(app(kept, TOKEN))
    async with asked.get("/keys", headers={"authorization": sent}) as response:
        assert response.status == 401


async def test_the_token_opens_from_anywhere(kept: Stores, opened: Open) -> None:
    asked = await opened(app(kept, TOKEN, peer=lambda _: "203.0.113.9"))
    headers = {"authorization": f"bearer {TOKEN}", "host": "gateway.example:9902"}
    async with asked.get("/keys", headers=headers) as response:
        assert response.status == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", ""])
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_token_only_this_machine(
    method: str, path: str, peer: str, kept: Stores, opened: Open
) -> None:
    asked = await opened(app(kept, peer=lambda _: peer))
    async with asked.request(method, path, headers={"host": "127.0.0.1:9902"}) as response:
        assert response.status == 403
        assert "TOLLGATE_ADMIN_TOKEN" in (await response.json())["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        {"host": "evil.example:9902"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "192.0.2.2:9902"},
        {"host": "[::1"},
        {"host": "unix"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"origin": "http://127.0.0.1:1"},
        {"host": "evil.example", "origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 proxy"},
        {"x-real-ip": "127.0.0.1"},
    ],
)
async def test_pages_and_proxies_on_this_machine(
    sent: dict[str, str], kept: Stores, opened: Open
) -> None:
    asked = await opened(app(kept))
    async with asked.post("/keys", json={}, headers=sent) as response:
        assert response.status == 403, await response.text()
    assert await kept.keys.list() == []


@pytest.mark.parametrize(
    "sent", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
async def test_a_page_with_the_token_is_refused_too(
    sent: dict[str, str], kept: Stores, opened: Open
) -> None:
    asked = await opened(app(kept, TOKEN))
    headers = {"authorization": f"Bearer {TOKEN}", **sent}
    async with asked.get("/keys", headers=headers) as response:
        assert response.status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9902", "127.0.0.1", "127.1.2.3:1", "[::1]:9902"]
)
def test_hosts_of_this_machine(host: str) -> None:
    Guard(None).admit("/keys", "127.0.0.1", {"host": host})


def test_the_own_origin_may_ask() -> None:
    headers = {"host": "localhost:9902", "origin": "http://localhost:9902"}
    Guard(None).admit("/keys", "::1", headers)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_what_is_open_for_all(path: str, kept: Stores, opened: Open) -> None:
    for token in (None, TOKEN):
        asked = await opened(app(kept, token, peer=lambda _: "203.0.113.9"))
        async with asked.get(path, headers={"host": "gateway.example"}) as response:
            assert response.status == 200


@pytest.mark.parametrize("path", ["//keys", "/metrics/../keys", "/keys/", "/metrics/"])
async def test_no_path_gets_around(path: str, kept: Stores, opened: Open) -> None:
    asked = await opened(app(kept, TOKEN))
    reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split()[1] in {b"401", b"404"}
    assert b'"keys"' not in answer


async def test_a_unix_socket_is_this_machine(kept: Stores, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    close = await serve(f"unix:{path}", expose, parts, kept.admin())
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get("http://worker/keys") as response,
        ):
            assert response.status == 200
    finally:
        await close()


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("127.0.0.1", True), ("127.255.0.3", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("unix", True), ("10.0.0.1", False), ("", False), ("localhost", False), ("::", False),
        ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_loopback(peer: str, loopback: bool) -> None:
    assert is_loopback(peer) is loopback


def test_a_token_of_the_environment() -> None:
    assert token_of({}) is None
    assert token_of({"TOLLGATE_ADMIN_TOKEN": " \n"}) is None
    assert token_of({"TOLLGATE_ADMIN_TOKEN": f"{TOKEN}\n"}) == TOKEN
    for bad in ("two words", "gänsefuß", "a\x00b"):
        with pytest.raises(ValueError, match="TOLLGATE_ADMIN_TOKEN") as raised:
            token_of({"TOLLGATE_ADMIN_TOKEN": bad})
        assert bad not in str(raised.value)
