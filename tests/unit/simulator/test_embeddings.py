import array
import base64
import math
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.embedding_create_params import EmbeddingCreateParams

from extproc.simulator import Simulator, embeddings
from tests.unit.simulator.talk import Heard, Talk
from tests.unit.simulator.test_fields import fields, keys

SMALL = "text-embedding-3-small"


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=sim.url("openai") + "/v1", api_key="any", max_retries=0
    ) as made:
        yield made


async def send(talk: Talk, script: Any = None, **more: Any) -> Heard:
    body = {"model": SMALL, "input": "hello"} | more
    return await talk.send("openai", "/v1/embeddings", body, script=script)


def test_fields_are_the_sdks() -> None:
    assert fields(embeddings.Body) == keys(EmbeddingCreateParams)


async def test_vectors_are_the_texts_own_and_of_unit_length(client: openai.AsyncOpenAI) -> None:
    first = await client.embeddings.create(model=SMALL, input=["cat", "dog"])
    again = await client.embeddings.create(model=SMALL, input="cat")
    cat, dog = (one.embedding for one in first.data)
    assert [one.index for one in first.data] == [0, 1]
    assert len(cat) == 1536
    assert again.data[0].embedding == cat
    assert abs(math.fsum(a * b for a, b in zip(cat, dog, strict=True))) < 0.2
    assert math.isclose(math.fsum(one * one for one in cat), 1, rel_tol=1e-5)


async def test_no_server_makes_vectors_without_end(talk: Talk) -> None:
    body = {"model": "e5", "input": "x", "dimensions": 2**70}
    assert (await talk.send("local", "/v1/embeddings", body)).status == 400


async def test_base64_and_numbers_are_the_same_vector(talk: Talk) -> None:
    numbers = await send(talk, dimensions=8)
    packed = await send(talk, dimensions=8, encoding_format="base64")
    CreateEmbeddingResponse.model_validate(numbers.json, strict=True)
    floats = array.array("f")
    floats.frombytes(base64.b64decode(packed.json["data"][0]["embedding"]))
    assert list(floats) == pytest.approx(numbers.json["data"][0]["embedding"], rel=1e-6)


@pytest.mark.parametrize(
    ("given", "count"), [(["a", "b"], 2), ([1, 2], 1), ([[1, 2], [3]], 2), ("a", 1)]
)
async def test_usage_is_input_only(talk: Talk, given: Any, count: int) -> None:
    heard = await send(talk, {"usage": {"input": 12, "output": 0}}, input=given)
    assert len(heard.json["data"]) == count
    assert heard.json["usage"] == {"prompt_tokens": 12, "total_tokens": 12}
    assert (await talk.ended()).billed.input == 12
    drawn = await send(talk, input=given)
    assert drawn.json["usage"]["prompt_tokens"] > 0
    assert (await talk.ended()).billed.output == 0


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": None}, "input"),
        ({"input": ["a", 1]}, None),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": [1] * 8193}, None),
        ({"dimensions": 0}, None),
        ({"dimensions": 1537}, "dimensions"),
        ({"dimensions": 8, "model": "text-embedding-ada-002"}, "dimensions"),
        ({"encoding_format": "binary"}, "encoding_format"),
        ({"stream": True}, "stream"),
    ],
)
async def test_refuses_as_openai_does(talk: Talk, more: dict[str, Any], param: str | None) -> None:
    heard = await send(talk, **more)
    assert (heard.status, heard.json["error"]["param"]) == (400, param)
    assert heard.json["error"]["type"] == "invalid_request_error"
