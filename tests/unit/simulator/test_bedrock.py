import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.session
import msgspec
import pytest

from extproc.simulator import Simulator, bedrock_request
from extproc.simulator.bedrock_signature import broken, claimed
from tests.unit.simulator.talk import Heard, Talk

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/"
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WEATHER: Any = {
    "toolSpec": {
        "name": "get_weather",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            }
        },
    }
}
CLOCK: Any = {"toolSpec": {"name": "get_time", "inputSchema": {"json": {"type": "object"}}}}
USER: Any = {"role": "user", "content": [{"text": "hello"}]}
BEARER = {"authorization": "Bearer key"}


@pytest.fixture
async def sim(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    async with Simulator({"bedrock": 0}) as simulator:
        yield simulator


SESSION = botocore.session.get_session()


class SDK:
    """The official client, in a thread."""

    def __init__(self, sim: Simulator, secret: str = SECRET, key: str = KEY) -> None:
        self.client = SESSION.create_client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=sim.url("bedrock"),
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )
        self.script: str | None = None
        self.client.meta.events.register("before-sign.*.*", self._add)

    def _add(self, request: Any, **_: Any) -> None:
        if self.script is not None:
            request.headers["x-sim-script"] = self.script

    async def converse(self, script: Any = None, **body: Any) -> Any:
        self.script = None if script is None else json.dumps(script)
        sent = {"modelId": MODEL, "messages": [USER]} | body
        return await asyncio.to_thread(lambda: self.client.converse(**sent))

    async def stream(self, script: Any = None, **body: Any) -> list[Any]:
        self.script = None if script is None else json.dumps(script)
        sent = {"modelId": MODEL, "messages": [USER]} | body
        return await asyncio.to_thread(self._events, sent)

    def _events(self, sent: dict[str, Any]) -> list[Any]:
        stream = self.client.converse_stream(**sent)["stream"]
        try:
            return list(stream)
        finally:
            stream.close()


@pytest.fixture
def sdk(sim: Simulator) -> Iterator[SDK]:
    made = SDK(sim)
    yield made
    made.client.close()


async def test_sdk_reads_a_whole_answer_with_cache_figures_beside_the_input(sdk: SDK) -> None:
    figures = {
        "input": 1000,
        "output": 50,
        "cached": 600,
        "cache_write": 300,
        "cache_write_1h": 100,
    }
    answer = await sdk.converse({"text": "naive text", "usage": figures})
    assert answer["output"]["message"]["content"] == [{"text": "naive text"}]
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (100, 50, 1050)
    assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (600, 300)
    assert {one["ttl"]: one["inputTokens"] for one in usage["cacheDetails"]} == {
        "5m": 200,
        "1h": 100,
    }


async def test_sdk_reads_a_stream_and_checks_its_checksums(sdk: SDK) -> None:
    events = await sdk.stream({"text": "one two", "usage": {"input": 9, "output": 4}})
    kinds = [next(iter(event)) for event in events]
    assert kinds == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert [event["contentBlockDelta"]["delta"]["text"] for event in events[1:3]] == ["one", " two"]
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 13


async def test_tools_whole_and_streamed_and_their_results(sdk: SDK) -> None:
    ask: Any = {"role": "user", "content": [{"text": "use get_weather and get_time"}]}
    config: Any = {"tools": [WEATHER, CLOCK]}
    whole = await sdk.converse(messages=[ask], toolConfig=config)
    assert whole["stopReason"] == "tool_use"
    uses = [block["toolUse"] for block in whole["output"]["message"]["content"]]
    assert [one["name"] for one in uses] == ["get_weather", "get_time"]
    assert isinstance(uses[0]["input"]["city"], str)
    events = await sdk.stream(messages=[ask], toolConfig=config)
    starts = [one["contentBlockStart"] for one in events if "contentBlockStart" in one]
    assert [one["start"]["toolUse"]["name"] for one in starts] == ["get_weather", "get_time"]
    pieces = "".join(
        one["contentBlockDelta"]["delta"]["toolUse"]["input"]
        for one in events
        if "contentBlockDelta" in one and one["contentBlockDelta"]["contentBlockIndex"] == 0
    )
    assert json.loads(pieces) == uses[0]["input"]
    results = [
        {"toolResult": {"toolUseId": one["toolUseId"], "content": [{"json": {"a": 1}}]}}
        for one in uses
    ]
    answer = await sdk.converse(
        messages=[ask, whole["output"]["message"], {"role": "user", "content": results}],
        toolConfig=config,
    )
    assert answer["stopReason"] == "end_turn"


@pytest.mark.parametrize(
    ("choice", "names"),
    [({"any": {}}, ["get_weather"]), ({"tool": {"name": "get_time"}}, ["get_time"])],
)
async def test_tool_choice(sdk: SDK, choice: Any, names: list[str]) -> None:
    answer = await sdk.converse(toolConfig={"tools": [WEATHER, CLOCK], "toolChoice": choice})
    made = [block["toolUse"]["name"] for block in answer["output"]["message"]["content"]]
    assert made == names


THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


async def test_reasoning_is_signed_and_its_signature_is_checked(sdk: SDK) -> None:
    whole = await sdk.converse(additionalModelRequestFields=THINKING)
    turn = whole["output"]["message"]
    said = turn["content"][0]["reasoningContent"]["reasoningText"]
    events = await sdk.stream(additionalModelRequestFields=THINKING)
    deltas = [
        one["contentBlockDelta"]["delta"]["reasoningContent"]
        for one in events
        if "reasoningContent" in one.get("contentBlockDelta", {}).get("delta", {})
    ]
    assert "".join(one.get("text", "") for one in deltas) == said["text"]
    assert deltas[-1]["signature"] == said["signature"]
    await sdk.converse(messages=[USER, turn, USER])
    said["text"] += "!"
    with pytest.raises(botocore.exceptions.ClientError, match="Invalid `signature`"):
        await sdk.converse(messages=[USER, turn, USER])


async def test_hidden_reasoning_goes_there_and_back(sdk: SDK) -> None:
    text = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9"
    ask: Any = {"role": "user", "content": [{"text": text}]}
    whole = await sdk.converse(messages=[ask], additionalModelRequestFields=THINKING)
    turn = whole["output"]["message"]
    assert turn["content"][0]["reasoningContent"]["redactedContent"]
    await sdk.converse(messages=[ask, turn, USER])
    events = await sdk.stream(messages=[ask], additionalModelRequestFields=THINKING)
    assert events[1]["contentBlockDelta"]["delta"]["reasoningContent"]["redactedContent"]


async def test_a_cache_point_writes_and_then_reads(sdk: SDK) -> None:
    system: Any = [{"text": "be brief"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    first = (await sdk.converse(system=system))["usage"]
    second = (await sdk.converse(system=system))["usage"]
    assert first["cacheWriteInputTokens"] > 0
    assert first["cacheDetails"][0]["ttl"] == "1h"
    assert second["cacheReadInputTokens"] == first["cacheWriteInputTokens"]
    assert second["cacheWriteInputTokens"] == 0


async def test_images_documents_and_schemas(sdk: SDK) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    answer = await sdk.converse(
        messages=[
            {
                "role": "user",
                "content": [
                    {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}},
                    {"document": {"format": "pdf", "name": "A b", "source": {"bytes": b"%PDF"}}},
                    {"text": "what is this"},
                ],
            }
        ],
        outputConfig={
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": json.dumps(schema)}},
            }
        },
    )
    assert json.loads(answer["output"]["message"]["content"][0]["text"]) == {"n": 7}


async def test_documents_are_cited(sdk: SDK) -> None:
    given = [
        {"name": "a", "format": "txt", "source": {"text": "The sky is blue."}},
        {"name": "b", "format": "pdf", "source": {"bytes": b"%PDF"}},
        {"name": "c", "source": {"content": [{"text": "chunk"}]}},
    ]
    content: Any = [{"document": {**one, "citations": {"enabled": True}}} for one in given]
    ask: Any = {"role": "user", "content": [*content, {"text": "why"}]}
    whole = await sdk.converse(messages=[ask])
    cited = whole["output"]["message"]["content"][0]["citationsContent"]
    assert cited["content"][0]["text"]
    assert [next(iter(one["location"])) for one in cited["citations"]] == [
        "documentChar",
        "documentPage",
        "documentChunk",
    ]
    events = await sdk.stream(messages=[ask])
    deltas = [one["contentBlockDelta"]["delta"] for one in events if "contentBlockDelta" in one]
    assert [one["citation"] for one in deltas if "citation" in one] == cited["citations"]
    await sdk.converse(messages=[ask, whole["output"]["message"], USER])


async def test_counting_tokens_bills_nothing(sdk: SDK, sim: Simulator) -> None:
    counted = await asyncio.to_thread(
        lambda: sdk.client.count_tokens(modelId=MODEL, input={"converse": {"messages": [USER]}})
    )
    assert counted["inputTokens"] > 0
    assert sim.totals()["bedrock"].input == 0


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("rate_limit", "ThrottlingException", 429),
        ("context_length", "ValidationException", 400),
        ("timeout", "ModelTimeoutException", 408),
        ("server", "InternalServerException", 500),
        ("permission", "AccessDeniedException", 403),
    ],
)
async def test_errors_as_answers(sdk: SDK, kind: str, code: str, status: int) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await sdk.converse({"error": kind})
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("rate_limit", "throttlingException"),
        ("server", "internalServerException"),
        ("timeout", "modelStreamErrorException"),
    ],
)
async def test_an_error_within_a_stream(sdk: SDK, kind: str, code: str) -> None:
    with pytest.raises(botocore.exceptions.EventStreamError) as caught:
        await sdk.stream({"error": kind, "error_at": 2, "comment_first": True, "ping_every": 0.01})
    assert caught.value.response["Error"]["Code"] == code


async def test_a_guardrail_that_intervenes(sdk: SDK) -> None:
    answer = await sdk.converse(
        {"finish": "content_filter"},
        guardrailConfig={
            "guardrailIdentifier": "abc",
            "guardrailVersion": "1",
            "trace": "enabled",
        },
    )
    assert answer["stopReason"] == "guardrail_intervened"
    assert "guardrail" in answer["trace"]


async def test_signatures_are_checked(sim: Simulator) -> None:
    for made, words in (
        (SDK(sim, secret="other"), "signature we calculated"),
        (SDK(sim, key="AKIDOTHER"), "security token included in the request is invalid"),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match=words):
            await made.converse()
        made.client.close()


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, "IncompleteSignatureException"),
        ({"authorization": "Bearer wrong"}, "AccessDeniedException"),
    ],
)
async def test_keys(talk: Talk, headers: dict[str, str], kind: str) -> None:
    heard = await talk.send("bedrock", f"{PATH}converse", {"messages": [USER]}, headers=headers)
    assert (heard.status, heard.headers["x-amzn-errortype"]) == (403, kind)
    assert heard.json["message"]


def test_the_signature_is_that_of_the_sdk() -> None:
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/a.b%3A0/converse?b=2&a=x%20y"
    request = botocore.awsrequest.AWSRequest("POST", url, data=b"{}")
    request.headers["content-type"] = "application/json"
    credentials = botocore.credentials.Credentials(KEY, SECRET, "token")
    botocore.auth.SigV4Auth(credentials, "bedrock", "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers["host"] = "bedrock-runtime.us-east-1.amazonaws.com"
    claim = claimed(headers["authorization"])
    assert claim is not None
    given: Any = {
        "path": "/model/a.b%3A0/converse",
        "query": "b=2&a=x%20y",
        "headers": headers,
        "body": b"{}",
    }
    assert broken(claim, SECRET, **given) is None
    assert broken(claim, SECRET, **{**given, "body": b"{ }"}) is not None
    assert broken(claim, SECRET, **{**given, "path": "/model/a.b:0/converse"}) is not None
    later = datetime.now(UTC) + timedelta(minutes=6)
    assert "expired" in (broken(claim, SECRET, **given, now=later) or "")


CALL: Any = {
    "role": "assistant",
    "content": [{"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}],
}
RESULT: Any = {
    "role": "user",
    "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "x"}]}}],
}
PDF = {"format": "pdf", "name": "a.pdf", "source": {"bytes": "JVBERg=="}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"foo": 1}, "extraneous key [foo] is not permitted"),
        ({"messages": []}, "The messages field is empty"),
        ({"messages": [CALL]}, "must start with a user message"),
        ({"messages": [USER, USER]}, "must alternate between user and assistant"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0 is empty"),
        ({"messages": [{"role": "user", "content": [{"text": ""}]}]}, "is blank"),
        ({"messages": [{"role": "tool", "content": []}]}, "'messages.1.member.role'"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "exactly one field"),
        ({"messages": [USER, CALL, USER], "toolConfig": {"tools": [CLOCK]}}, "Expected toolResult"),
        ({"messages": [RESULT]}, "exceeds the number of toolUse blocks"),
        ({"messages": [USER, CALL, RESULT]}, "The toolConfig field must be defined"),
        (
            {"messages": [{"role": "user", "content": [{"document": PDF}, {"text": "x"}]}]},
            "can only contain alphanumeric",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"document": {**PDF, "name": "a"}}]},
                ]
            },
            "A text block is required",
        ),
        ({"inferenceConfig": {"maxTokens": 0}}, "'inferenceConfig.maxTokens'"),
        ({"inferenceConfig": {"temperature": 1.5}}, "'inferenceConfig.temperature'"),
        ({"inferenceConfig": {"temperature": 1, "topP": 1}}, "cannot both be specified"),
        ({"toolConfig": {"tools": []}}, "'toolConfig.tools'"),
        (
            {"toolConfig": {"tools": [CLOCK], "toolChoice": {"tool": {"name": "x"}}}},
            "is not in toolConfig.tools",
        ),
        ({"additionalModelRequestFields": {"foo": 1}}, "extraneous key [foo]"),
        (
            {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1}}},
            "greater than or equal to 1024",
        ),
        (
            {
                "additionalModelRequestFields": THINKING,
                "toolConfig": {"tools": [CLOCK], "toolChoice": {"any": {}}},
            },
            "Thinking may not be enabled when tool_choice forces",
        ),
        (
            {
                "messages": [USER, CALL, RESULT],
                "additionalModelRequestFields": THINKING,
                "toolConfig": {"tools": [CLOCK]},
            },
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
        ({"guardrailConfig": {"streamProcessingMode": "sync"}}, "[streamProcessingMode]"),
    ],
)
async def test_refuses_as_bedrock_does(talk: Talk, body: Any, words: str) -> None:
    heard = await _sent(talk, {"messages": [USER]} | body)
    assert heard.status == 400
    assert heard.headers["x-amzn-errortype"] == "ValidationException"
    assert words in heard.json["message"]


async def _sent(talk: Talk, body: Any) -> Heard:
    return await talk.send("bedrock", f"{PATH}converse", body, headers=BEARER)


async def test_a_model_that_is_not_there(talk: Talk) -> None:
    for name in ("does-not-exist-model-v1%3A0", "gpt-4o"):
        path = f"/model/{name}/converse"
        heard = await talk.send("bedrock", path, {"messages": [USER]}, headers=BEARER)
        assert heard.status == 400
        assert heard.json == {"message": "The provided model identifier is invalid."}


def _described(struct: Any) -> dict[str, Any]:
    """The struct's fields by their names on the wire, each with the struct within it."""
    found = {}
    for field in msgspec.structs.fields(struct):
        inner = [
            one
            for one in _types(msgspec.inspect.type_info(field.type))
            if isinstance(one, msgspec.inspect.StructType)
        ]
        found[field.encode_name] = inner[0].cls if inner else None
    return found


def _types(info: Any) -> Iterator[Any]:
    yield info
    for name in ("types", "item_type", "value_type"):
        inner = getattr(info, name, None)
        for one in inner if isinstance(inner, tuple) else (inner,):
            if one is not None:
                yield from _types(one)


def _compared(struct: Any, shape: Any, seen: set[str]) -> None:
    """The struct has the members of the shape, all the way down."""
    at_the_top = {"modelId"} if "modelId" in shape.members else set()
    if shape.name in seen or shape.is_document_type:
        return
    seen.add(shape.name)
    fields = _described(struct)
    assert set(fields) - EXTRA.get(shape.name, set()) == set(shape.members) - at_the_top, shape.name
    for name, member in shape.members.items():
        inner = member
        while inner.type_name in ("list", "map"):
            inner = inner.member if inner.type_name == "list" else inner.value
        if inner.type_name == "structure" and fields.get(name) is not None:
            _compared(fields[name], inner, seen)


# One struct stands for the bodies, and for the guardrail, of both operations.
EXTRA = {"GuardrailConfiguration": {"streamProcessingMode"}}


def test_the_fields_are_those_of_the_service_model() -> None:
    model = SESSION.get_service_model("bedrock-runtime")
    for operation, struct in (
        ("Converse", bedrock_request.Body),
        ("ConverseStream", bedrock_request.Body),
        ("CountTokens", bedrock_request.CountBody),
    ):
        seen: set[str] = set()
        _compared(struct, model.operation_model(operation).input_shape, seen)
        assert len(seen) > 25
