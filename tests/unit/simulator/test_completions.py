from typing import Any

import pytest
from openai.types import Completion
from openai.types.completion_create_params import CompletionCreateParamsStreaming

from extproc.simulator import completions
from tests.unit.simulator.talk import Heard, Talk
from tests.unit.simulator.test_fields import fields, keys

PATH = "/v1/completions"


async def send(talk: Talk, script: Any = None, **more: Any) -> Heard:
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": "once"} | more
    return await talk.send("openai", PATH, body, script=script)


def test_fields_are_the_sdks() -> None:
    assert fields(completions.Body) == keys(CompletionCreateParamsStreaming)


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("once", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2), (None, 1)],
)
async def test_a_choice_for_each_prompt_and_n(talk: Talk, prompt: Any, choices: int) -> None:
    heard = await send(talk, prompt=prompt, n=2)
    found = Completion.model_validate(heard.json, strict=True)
    assert [one.index for one in found.choices] == list(range(choices * 2))


async def test_stream_says_what_the_whole_answer_says(talk: Talk) -> None:
    script = {"text": "upon a time", "usage": {"input": 3, "output": 4}}
    more: Any = {"echo": True, "logprobs": 2, "prompt": ["x", "y"]}
    whole = (await send(talk, script, **more)).json
    heard = await send(talk, script, **more, stream=True, stream_options={"include_usage": True})
    *events, last = heard.events
    for one in events:
        Completion.model_validate(
            one | {"choices": [one["choices"][0] | {"finish_reason": "stop"}]}, strict=True
        )
    for choice in whole["choices"]:
        mine = [
            one["choices"][0] for one in events if one["choices"][0]["index"] == choice["index"]
        ]
        assert "".join(one["text"] for one in mine) == choice["text"]
        assert choice["text"] == "xy"[choice["index"]] + "upon a time"
        offsets = [at for one in mine if one["logprobs"] for at in one["logprobs"]["text_offset"]]
        assert offsets == choice["logprobs"]["text_offset"]
        assert mine[-1]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 7
    assert heard.body.endswith(b"data: [DONE]\n\n")


async def test_a_cut_answer_ends_with_length(talk: Talk) -> None:
    heard = await send(talk, max_tokens=2)
    assert heard.json["choices"][0]["finish_reason"] == "length"
    assert heard.json["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 0}, "n"),
        ({"suffix": "end", "echo": True}, "suffix"),
        ({"stream_options": {}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"temperature": 2.5}, "temperature"),
    ],
)
async def test_refuses_as_openai_does(talk: Talk, more: dict[str, Any], param: str) -> None:
    heard = await send(talk, **more)
    assert (heard.status, heard.json["error"]["param"]) == (400, param)


async def test_scripts_break_it_as_a_chat(talk: Talk) -> None:
    heard = await send(talk, {"error_at": 1, "error": "server"}, stream=True)
    assert heard.events[-1]["error"]["type"] == "server_error"
    assert (await send(talk, {"status": 429})).status == 429
    assert (await send(talk, model="gpt-unknown")).status == 404
