from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from extproc.simulator import Simulator
from extproc.simulator.chat import Ask, Reply
from extproc.simulator.responses_store import KEPT, Kept, Store
from tests.unit.simulator.talk import Talk

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=sim.url("openai") + "/v1", api_key="any", max_retries=0
    ) as made:
        yield made


async def test_a_call_is_answered_with_the_response_before(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt-5", input="use get_weather", tools=[WEATHER])
    call = first.output[1]
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "5"}
    second = await client.responses.create(
        model="gpt-5", previous_response_id=first.id, input=[result]
    )
    assert second.previous_response_id == first.id
    third = await client.responses.create(
        model="gpt-5", previous_response_id=second.id, input="and?"
    )
    assert third.output_text
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await client.responses.create(model="gpt-5", previous_response_id=first.id, input="and?")


async def test_items_go_back_by_value_and_by_reference(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(
        model="gpt-5",
        input="use get_weather",
        tools=[WEATHER],
        include=["reasoning.encrypted_content"],
    )
    call: Any = first.output[1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "5"}
    values: Any = [*(one.to_dict() for one in first.output), result]
    references: Any = [*({"id": one.id} for one in first.output), result]
    for given in (values, references):
        assert (await client.responses.create(model="gpt-5", input=given)).output_text


async def test_what_is_kept_can_be_read_and_forgotten(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="gpt-4o", input="hello")
    assert (await client.responses.retrieve(made.id)).to_dict() == made.to_dict()
    items = await client.responses.input_items.list(made.id, order="asc")
    assert [one.to_dict()["role"] for one in items.data] == ["user"]
    events = [
        one async for one in await client.responses.retrieve(made.id, stream=True, starting_after=1)
    ]
    assert events[0].type == "response.output_item.added"
    assert events[-1].type == "response.completed"
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        await client.responses.retrieve(made.id)


async def test_what_is_not_to_be_stored_is_not(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="gpt-4o", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="gpt-4o", input="x", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"


async def test_in_the_background(client: openai.AsyncOpenAI) -> None:
    made = await client.responses.create(model="gpt-4o", input="hello", background=True)
    assert (made.status, made.output) == ("queued", [])
    assert (await client.responses.retrieve(made.id)).status == "in_progress"
    assert (await client.responses.retrieve(made.id)).status == "completed"
    other = await client.responses.create(model="gpt-4o", input="hello", background=True)
    assert (await client.responses.cancel(other.id)).status == "cancelled"
    direct = await client.responses.create(model="gpt-4o", input="hello")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await client.responses.cancel(direct.id)


async def test_counting_and_looking_bill_nothing(client: openai.AsyncOpenAI, talk: Talk) -> None:
    made = await client.responses.create(model="gpt-4o", input="hello")
    before = talk.sim.totals()["openai"].input
    counted = await client.responses.input_tokens.count(model="gpt-4o", input="hello")
    await client.responses.retrieve(made.id)
    await talk.ended()
    assert counted.input_tokens > 0
    assert talk.sim.totals()["openai"].input == before
    with pytest.raises(openai.BadRequestError):
        await client.responses.input_tokens.count(
            model="gpt-4o", input="hello", extra_body={"temperature": 1}
        )


async def test_servers_that_keep_nothing_know_no_response_before(talk: Talk) -> None:
    made = await talk.send("openai", "/openai/v1/responses", {"model": "m", "input": "x"})
    assert made.status == 200
    heard = await talk.send(
        "openai",
        "/openai/v1/responses",
        {"model": "m", "input": "x", "previous_response_id": made.json["id"]},
    )
    assert heard.json["error"]["code"] == "previous_response_not_found"


def test_the_oldest_is_forgotten_with_its_items() -> None:
    store = Store()
    reply = Reply(id="0", created=0, model="m", pieces=(), finish="stop", usage=None)
    for n in range(KEPT + 1):
        output = [{"type": "message", "id": f"msg_{n}"}]
        store.put(Kept({"id": f"resp_{n}", "output": output}, [], Ask(model="m"), reply))
    assert store.get("resp_0") is None
    assert store.item("msg_0") is None
    assert store.get("resp_1") is not None
    assert store.item(f"msg_{KEPT}") is not None
