import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from extproc.cache import CacheAway
from extproc.cache.embedders import EmbedderError
from extproc.cache.embedders.endpoint import (
    BATCH,
    CHARACTERS,
    FAILURES,
    IN_FLIGHT,
    WAITING,
    EndpointEmbedder,
    endpoint,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers as OpenAI does, until told otherwise; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.now = 0
        self.most = 0
        self.answer: Handler | None = None
        self.reached = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        self.reached.set()
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await (self.answer or self.right)(request)
        finally:
            self.now -= 1

    async def right(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(answer(self.asked[-1]["input"]))

    def always(self, body: object, status: int = 200, **headers: str) -> None:
        async def said(_: web.Request) -> web.StreamResponse:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            return web.Response(body=text, status=status, headers=headers)

        self.answer = said


def vector(text: str) -> list[float]:
    return [float(len(text)), 1.0, 2.0]


def answer(texts: list[str], tokens: int = 10) -> dict[str, Any]:
    data = [{"index": n, "embedding": vector(text)} for n, text in enumerate(texts)]
    usage = {"prompt_tokens": tokens * len(texts), "total_tokens": tokens * len(texts)}
    return {"object": "list", "data": data[::-1], "model": "m", "usage": usage}


def unit(text: str) -> Any:
    return np.array(vector(text)) / np.linalg.norm(vector(text))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/embeddings", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}/v1"
    yield made
    await runner.cleanup()


@pytest.fixture
async def embedder(server: Server) -> AsyncIterator[EndpointEmbedder]:
    # A slow machine is no reason for a test to fail.
    made = EndpointEmbedder(server.url, "m", token="sk-1", within=20, pause=0.05)
    yield made
    await made.close()


async def test_texts_become_rows_of_length_1_in_their_order(
    server: Server, embedder: EndpointEmbedder
) -> None:
    texts = ["a", "bb", "ccc"]
    found = await embedder.embedded(texts)
    assert found.vectors.dtype == np.float32
    assert np.allclose(found.vectors, [unit(text) for text in texts], atol=1e-6)
    assert found.tokens == 30
    assert server.asked == [{"model": "m", "input": texts}]
    assert server.headers[0]["Authorization"] == "Bearer sk-1"


async def test_the_first_answer_fixes_width_and_name(
    server: Server, embedder: EndpointEmbedder
) -> None:
    assert embedder.dim == 0
    await embedder.prepare()
    await embedder.prepare()
    assert len(server.asked) == 1
    assert embedder.dim == 3
    name = embedder.id
    assert name.startswith("http/m@")
    assert name.endswith("/3")
    server.always({"data": [{"index": 0, "embedding": [1, 2]}]})
    with pytest.raises(CacheAway, match="have 2 numbers, before they had 3"):
        await embedder.embed(["a"])
    assert embedder.id == name


async def test_what_comes_together_goes_together(
    server: Server, embedder: EndpointEmbedder
) -> None:
    every = await asyncio.gather(*(embedder.embedded(["x" * n]) for n in range(1, 11)))
    assert len(server.asked) == 1
    for n, found in enumerate(every, 1):
        assert np.allclose(found.vectors[0], unit("x" * n), atol=1e-6)
    assert sum(found.tokens for found in every) == 100
    assert every[9].tokens > every[0].tokens


async def test_batches_and_requests_at_a_time_are_bounded(
    server: Server, embedder: EndpointEmbedder
) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        texts = (await request.json())["input"]
        await asyncio.sleep(0.02)
        return web.json_response(answer(texts))

    server.answer = slow
    texts = [f"{n:04}" for n in range(WAITING)]
    found = await embedder.embed(texts)
    assert found.shape == (WAITING, 3)
    assert len(server.asked) == WAITING // BATCH
    assert max(len(one["input"]) for one in server.asked) == BATCH
    assert server.most <= IN_FLIGHT


async def test_more_than_may_wait_are_told_at_once(embedder: EndpointEmbedder) -> None:
    with pytest.raises(CacheAway, match="too many"):
        await embedder.embed(["a"] * (WAITING + 1))


async def test_no_text_asks_nobody(server: Server, embedder: EndpointEmbedder) -> None:
    assert (await embedder.embed([])).shape[0] == 0
    assert server.asked == []


async def test_texts_are_sent_as_they_can_be(server: Server, embedder: EndpointEmbedder) -> None:
    long = "a" * CHARACTERS + "b" * CHARACTERS
    await embedder.embed(["", "\ud800", long])
    empty, half, cut = server.asked[0]["input"]
    assert (empty, half) == (" ", "\ufffd")
    assert len(cut) <= CHARACTERS
    assert cut.startswith("aaa")
    assert cut.endswith("bbb")
    assert not embedder.whole(long)
    assert embedder.whole("a question")


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def test_the_deadline_is_kept(server: Server) -> None:
    server.answer = hang
    made = EndpointEmbedder(server.url, "m", within=0.3)
    before = time.monotonic()
    with pytest.raises(CacheAway, match="no vector in time"):
        await made.embed(["a"])
    assert 0.29 < time.monotonic() - before < 5
    await made.close()


async def test_who_stops_waiting_disturbs_nobody(
    server: Server, embedder: EndpointEmbedder
) -> None:
    gone = asyncio.create_task(embedder.embed(["gone"]))
    stays = asyncio.create_task(embedder.embed(["stays"]))
    await asyncio.sleep(0)
    gone.cancel()
    assert np.allclose((await stays)[0], unit("stays"), atol=1e-6)
    assert server.asked[0]["input"] == ["stays"]


async def test_a_text_that_is_refused_harms_no_other(
    server: Server, embedder: EndpointEmbedder
) -> None:
    async def picky(request: web.Request) -> web.StreamResponse:
        texts = (await request.json())["input"]
        if "bad" in texts:
            return web.json_response({"error": {"message": "bad"}}, status=400)
        return web.json_response(answer(texts))

    server.answer = picky
    asked = [asyncio.create_task(embedder.embed([one])) for one in ("a", "bad", "ccc")]
    first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(second, CacheAway)
    assert "status 400" in str(second)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert np.allclose(third[0], unit("ccc"), atol=1e-6)
    # Texts are blamed, not the endpoint.
    for _ in range(FAILURES + 1):
        with pytest.raises(CacheAway, match="status 400"):
            await embedder.embed(["bad"])


async def test_one_that_fails_is_left_alone_and_comes_back(
    server: Server, embedder: EndpointEmbedder
) -> None:
    server.always({"error": "no"}, status=500)
    for _ in range(FAILURES):
        with pytest.raises(CacheAway, match="status 500"):
            await embedder.embed(["a"])
    asked = len(server.asked)
    with pytest.raises(CacheAway, match="left alone"):
        await embedder.embed(["a"])
    assert len(server.asked) == asked
    server.answer = None
    async with asyncio.timeout(20):
        while True:
            try:
                found = await embedder.embed(["a"])
            except CacheAway:
                await asyncio.sleep(0.01)
            else:
                break
    assert np.allclose(found[0], unit("a"), atol=1e-6)


async def test_who_is_told_to_wait_waits(server: Server, embedder: EndpointEmbedder) -> None:
    server.always({}, 429, **{"retry-after": "20"})
    with pytest.raises(CacheAway, match="429"):
        await embedder.embed(["a"])
    with pytest.raises(CacheAway, match="left alone"):
        await embedder.embed(["a"])
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        {"data": []},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 1, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": [0, 0]}]},
        {"data": [{"index": 0, "embedding": ["1"]}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1]}]},
        b'{"data": [{"index": 0, "embedding": [1e999]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN]}]}',
        {"data": [{"index": 0, "embedding": [1.0] * 9000}]},
        {"data": [{"index": 0, "embedding": [1]}], "pad": "x" * 1_000_000},
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    server: Server, embedder: EndpointEmbedder, body: object
) -> None:
    server.always(body)
    with pytest.raises(CacheAway, match="the answer"):
        await embedder.embed(["a"])
    assert embedder.dim == 0


async def test_great_and_small_numbers_have_a_direction(
    server: Server, embedder: EndpointEmbedder
) -> None:
    server.always(b'{"data": [{"embedding": [1e300, 1e300]}, {"embedding": [3e-300, 4e-300]}]}')
    found = await embedder.embedded(["a", "b"])
    assert np.allclose(found.vectors, [[0.5**0.5, 0.5**0.5], [0.6, 0.8]], atol=1e-6)
    assert found.tokens == 0


@pytest.mark.parametrize("status", [301, 307, 401, 404])
async def test_a_redirect_is_not_followed_and_an_error_told(
    server: Server, embedder: EndpointEmbedder, status: int
) -> None:
    server.always({}, status, location="/elsewhere")
    with pytest.raises(CacheAway, match=f"status {status}"):
        await embedder.embed(["a"])
    assert len(server.asked) == 1


async def test_nobody_there(embedder: EndpointEmbedder) -> None:
    made = EndpointEmbedder("http://127.0.0.1:9/v1", "m", token="sk-1", within=20)
    with pytest.raises(CacheAway) as caught:
        await made.embed(["secret text"])
    assert "secret" not in str(caught.value)
    assert "sk-1" not in str(caught.value)
    await made.close()
    await embedder.close()
    with pytest.raises(CacheAway, match="closed"):
        await embedder.embed(["a"])


async def test_closing_frees_who_waits(server: Server) -> None:
    server.answer = hang
    made = EndpointEmbedder(server.url, "m", within=60)
    asked = asyncio.create_task(made.embed(["a"]))
    async with asyncio.timeout(20):
        await server.reached.wait()
        waits = asyncio.create_task(made.embed(["b"]))
        await asyncio.sleep(0)
        await made.close()
        for one in (asked, waits):
            with pytest.raises(CacheAway, match="closed"):
                await one


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://a:8080", "http://a:8080/v1/embeddings"),
        ("http://a/", "http://a/v1/embeddings"),
        ("https://a/v1", "https://a/v1/embeddings"),
        ("https://a/v1/embeddings/", "https://a/v1/embeddings"),
        (" https://a/x/v3?api-version=1#b ", "https://a/x/v3/embeddings?api-version=1"),
        ("http://[::1]:80", "http://[::1]:80/v1/embeddings"),
    ],
)
def test_a_url_is_completed(given: str, meant: str) -> None:
    assert endpoint(given) == meant


@pytest.mark.parametrize(
    "given",
    ["", "a", "ftp://a", "http://", "http://a:0", "http://a:x", "http://[::1", "http://u:p@a"],
)
def test_what_is_no_url_is_told(given: str) -> None:
    with pytest.raises(EmbedderError, match="an embedder's URL"):
        EndpointEmbedder(given, "m")


async def test_places_and_models_are_told_apart() -> None:
    ids = {
        EndpointEmbedder(url, model).id for url in ("http://a", "http://b") for model in ("m", "n")
    }
    assert len(ids) == 4
