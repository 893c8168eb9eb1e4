"""Keys over the admin port."""

from __future__ import annotations

import gzip
import io
import json
import logging
import re

import pytest

from extproc.admin.capabilities import Admin
from extproc.admin.http import application
from extproc.identity import Keyring
from tests.unit.admin.conftest import Asked, Open
from tests.unit.admin.serving import SECRET, Stores, expose, parts
from tests.unit.identity.keystore import MemoryKeys

KEY = re.compile(r"tg-[0-9A-Za-z]{50}")


async def created(asked: Asked, **said: object) -> dict[str, object]:
    async with asked.post("/keys", json=said) as response:
        assert response.status == 201, await response.text()
        assert response.headers["cache-control"] == "no-store"
        found: dict[str, object] = await response.json()
        return found


async def opens(kept: Stores, key: object) -> bool:
    return await Keyring(kept.keys, SECRET).find(str(key)) is not None


async def test_a_key_from_its_making_to_its_end(asked: Asked, kept: Stores) -> None:
    made = await created(
        asked, name="ci", tenant="acme", team="red", user="anna", tier="pro", models=["flagship"],
        routes=["support"], labels={"env": "prod"}, expires_in=3600, may_set=["user"],
        limits={"input_tokens": "100000/h"},
    )  # fmt: skip
    key, key_id = str(made.pop("key")), made["id"]
    assert KEY.fullmatch(key)
    assert key[3:15] == key_id
    assert (made["status"], made["limits"]) == ("active", {"input_tokens": "100000/h"})
    assert "digests" not in made
    assert await opens(kept, key)

    async with asked.get(f"/keys/{key_id}") as response:
        assert await response.json() == made
    async with asked.get("/keys", params={"tenant": "acme", "team": "red"}) as response:
        assert (await response.json())["keys"] == [made]
    async with asked.get("/keys", params={"user": "bert"}) as response:
        assert (await response.json())["keys"] == []

    async with asked.post(f"/keys/{key_id}/rotate", json={"overlap": 60}) as response:
        rotated = await response.json()
    assert await opens(kept, key)
    assert await opens(kept, rotated["key"])
    assert rotated["old_until"] > made["created"]

    for _ in range(2):
        async with asked.post(f"/keys/{key_id}/revoke", json={}) as response:
            assert (await response.json())["status"] == "revoked"
    assert not await opens(kept, key)
    assert not await opens(kept, rotated["key"])
    async with asked.post(f"/keys/{key_id}/rotate", json={}) as response:
        assert response.status == 409


async def test_rotation_without_overlap(asked: Asked, kept: Stores) -> None:
    made = await created(asked)
    async with asked.post(f"/keys/{made['id']}/rotate", json={}) as response:
        assert response.status == 200
    assert not await opens(kept, made["key"])


BAD_FIELDS = [
    ({"tier": "platinum"}, "tier"),
    ({"nme": "x"}, "nme"),
    ({"models": "flagship"}, "models"),
    ({"labels": {"Ä": "x"}}, "labels"),
    ({"labels": {"a": "x\ny"}}, "labels.a"),
    ({"user": "a" * 300}, "user"),
    ({"may_set": ["everything"]}, "may_set"),
    ({"expires_in": -1}, "expires_in"),
    ({"expires_in": 1e300}, "expires_in"),
    ({"expires_at": "tomorrow"}, "expires_at"),
    ({"expires_in": 1, "expires_at": 2}, "expires_at"),
    ({"limits": {"a": "x" * 5000}}, "limits"),
    ({"limits": {"tokens": "100/x"}}, "limits.tokens"),
    ({"limits": {"user": {"tokens": ["1/h", "0/d"]}}}, "limits.user.tokens[1]"),
    ({"limits": {"\x1b[31m": {}}}, "limits.'\\x1b[31m'"),
    ({"limits": {"priority": 5}}, "limits.priority"),
]


@pytest.mark.parametrize(("said", "param"), BAD_FIELDS)
async def test_bad_fields(
    said: dict[str, object], param: str | None, asked: Asked, kept: Stores
) -> None:
    async with asked.post("/keys", json=said) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error.get("param") == param
    assert error["message"]
    assert await kept.keys.list() == []


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b'"x"', b'{"name": "a", "name": "b"}', b'{"name": "\xff"}', b"{} {}",
     b'{"expires_in": NaN}', b'{"expires_in": 1e999}', b'{"name": "\\ud800"}', b"[" * 100_000],
)  # fmt: skip
async def test_bad_bodies(body: bytes, asked: Asked, kept: Stores) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/keys", "/keys/abcdefghijkl/rotate", "/keys/abcdefghijkl/revoke"):
        async with asked.post(path, data=body, headers=headers) as response:
            assert response.status == 400, path
            assert (await response.json())["error"]["message"]
    assert await kept.keys.list() == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
async def test_only_json_changes_anything(kind: str, asked: Asked, kept: Stores) -> None:
    async with asked.post("/keys", data=b"{}", headers={"content-type": kind}) as response:
        assert response.status == 415
    assert await kept.keys.list() == []


async def test_a_body_is_bounded(asked: Asked) -> None:
    headers = {"content-type": "application/json"}
    body = b'{"name": "' + b"x" * 1_100_000 + b'"}'

    async def pieces() -> object:
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    for sent in (io.BytesIO(body), pieces()):
        async with asked.post("/keys", data=sent, headers=headers) as response:
            assert response.status == 413


@pytest.mark.parametrize("overlap", [-1, "1h", None, True, [], 1e12])
async def test_bad_overlaps(overlap: object, asked: Asked) -> None:
    made = await created(asked)
    async with asked.post(f"/keys/{made['id']}/rotate", json={"overlap": overlap}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == "overlap"


async def test_unknown_fields_of_a_change(asked: Asked) -> None:
    made = await created(asked)
    for path in ("rotate", "revoke"):
        async with asked.post(f"/keys/{made['id']}/{path}", json={"overlp": 1}) as response:
            assert response.status == 400
            assert (await response.json())["error"]["param"] == "overlp"


@pytest.mark.parametrize(
    "key_id", ["abcdefghijkl", "x", "%2e%2e", "a" * 5000, "%00", "%F0%9F%A6%80"]
)
async def test_unknown_keys(key_id: str, asked: Asked) -> None:
    async with asked.get(f"/keys/{key_id}") as response:
        assert response.status == 404
    for path in ("rotate", "revoke"):
        async with asked.post(f"/keys/{key_id}/{path}", json={}) as response:
            assert response.status == 404


async def test_unknown_parameters_of_a_list(asked: Asked) -> None:
    async with asked.get("/keys", params={"tennant": "acme"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == "tennant"


async def test_export_and_import(asked: Asked, kept: Stores) -> None:
    made = await created(asked, tenant="acme")
    async with asked.get("/keys/export") as response:
        assert response.content_type == "application/x-ndjson"
        exported = await response.read()
    assert str(made["key"]).encode() not in exported
    async with asked.post("/keys/import", data=exported) as response:
        assert response.status == 400
        assert (await response.json())["error"]["line"] == 1
    new = b'{"tenant": "a"}\n\n{"tenant": "b", "tier": "free"}\n'
    for headers in ({"content-type": "application/x-ndjson"}, {"content-type": "text/plain"}):
        async with asked.post("/keys/import", data=new, headers=headers) as response:
            found = await response.json()
        assert found["imported"] == 2
        assert [await opens(kept, one["key"]) for one in found["keys"]] == [True, True]
    async with asked.post("/keys/import", data=new + b'{"tier": "platinum"}\n') as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error["line"] == 4
    assert "platinum" in error["message"]
    assert len(await kept.keys.list()) == 5


async def test_an_import_is_bounded(asked: Asked) -> None:
    headers = {"content-length": str(1 << 40)}
    async with asked.post("/keys/import", data=b"", headers=headers) as response:
        assert response.status == 413


async def test_the_store_is_away(opened: Open) -> None:
    store = MemoryKeys()
    asked = await opened(application(expose, parts, Admin(keys=Keyring(store, SECRET))))
    store.away = True
    calls = [
        ("GET", "/keys"),
        ("POST", "/keys"),
        ("GET", "/keys/abcdefghijkl"),
        ("GET", "/keys/export"),
    ]
    calls += [("POST", f"/keys/abcdefghijkl/{what}") for what in ("rotate", "revoke")]
    for method, path in calls:
        async with asked.request(method, path, json={}) as response:
            assert response.status == 503, path
            assert "away" in (await response.json())["error"]["message"]


async def test_a_service_without_keys(opened: Open) -> None:
    asked = await opened(application(expose, parts))
    for path in (
        "/keys",
        "/keys/x",
        "/keys/export",
        "/usage",
        "/report",
        "/tail",
        "/usage/records",
    ):
        async with asked.get(path) as response:
            assert response.status == 404
            assert "this service keeps no" in (await response.json())["error"]["message"]


async def test_no_key_is_logged(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = await created(asked)
    async with asked.post(f"/keys/{made['id']}/rotate", json={}) as response:
        rotated = await response.json()
    async with asked.get(f"/keys/{made['key']}") as response:
        assert response.status == 404
    said = json.dumps([vars(one) for one in caplog.records], default=str)
    assert str(made["key"]) not in said
    assert rotated["key"] not in said
    changes = [one for one in caplog.records if one.name == "extproc.admin.keys"]
    assert [one.getMessage() for one in changes] == ["key created", "key rotated"]
    assert all(vars(one)["peer"] == "127.0.0.1" for one in changes)


async def test_a_compressed_body_is_not_unfolded(asked: Asked) -> None:
    small = gzip.compress(b" " * 4_000_000 + b"{}")
    sent = {"content-type": "application/json", "content-encoding": "gzip"}
    for path in ("/keys", "/keys/import"):
        async with asked.post(path, data=small, headers=sent) as response:
            assert response.status == 415
            assert "compressed" in (await response.json())["error"]["message"]
