"""What the second part of docs/dialects.md says comes back of an answer."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from tests.unit.dialects.cells import DIALECTS as NAMES
from tests.unit.dialects.cells import Never
from tests.unit.dialects.features import FEATURES
from tests.unit.dialects.samples import DIALECTS, body, level, run
from tests.unit.dialects.table_answers import ANSWERS, SAID
from tests.unit.dialects.wire import WRITERS, sayable
from tests.unit.dialects.wire.said import Call, Said, heard, overheard

CASES = [
    pytest.param(name, feature, mode, id=f"{name}-{feature}-{mode}")
    for feature in SAID
    for name in NAMES
    if not isinstance(ANSWERS[feature][name], Never)
    for mode in ("whole", "streamed")
]


@pytest.mark.parametrize(("name", "feature", "mode"), CASES)
def test_answer(name: str, feature: str, mode: str) -> None:
    said = SAID[feature]
    refused = feature.startswith("refusal")
    if mode == "whole":
        answer = DIALECTS[name].answer(WRITERS[name].whole(said))
        ChatCompletion.model_validate_json(answer.body)
        found = heard(answer.body)
        assert answer.refused is (refused and not (name in NATIVE and said.refusal))
    else:
        got = run(DIALECTS[name].stream(), WRITERS[name].stream(said))
        got.chunks()
        found = overheard(got.out)
        assert got.finished
        assert got.failure is None
        assert got.content
        assert got.refused is (refused and not (name in NATIVE and said.refusal))
    assert found == said


NATIVE = ("openai", "azure")
"""Where a reason is text of the answer, which is then not empty."""


@pytest.mark.parametrize("feature", SAID)
def test_what_never_comes_is_what_the_provider_has_no_word_for(feature: str) -> None:
    never = {name for name in NAMES if isinstance(ANSWERS[feature][name], Never)}
    said = SAID[feature]
    silent = {name for name in NAMES if sayable(name, said) != said}
    assert never == silent


BY_A_TOOL: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": ("JSON object", {}),
    "gemini": ("JSON schema beside tools", {"model": "gemini-2.5-pro"}),
    "vertex": ("JSON schema beside tools", {"model": "gemini-2.5-pro"}),
    "bedrock": ("JSON object", {}),
    "cohere": ("JSON schema beside tools", {}),
}
"""What is asked for, of which model, so that a tool must stand for the answer."""


@pytest.mark.parametrize("mode", ["whole", "streamed"])
@pytest.mark.parametrize("name", BY_A_TOOL)
def test_json_of_a_forced_tool(name: str, mode: str) -> None:
    feature, target = BY_A_TOOL[name]
    there = level(name, **target)
    wire = there.request(body(stream=mode == "streamed", **FEATURES[feature]))
    assert wire.warnings == ("response_format (by a forced tool)",)
    tool = wire.reply.json_tool
    assert tool is not None
    said = Said(calls=(Call("c1", tool, {"a": "é"}),), finish="tool_calls")
    if mode == "whole":
        found = heard(there.answer(WRITERS[name].whole(said)).body)
    else:
        found = overheard(run(there.stream(), WRITERS[name].stream(said)).out)
    assert json.loads(found.text) == {"a": "é"}
    assert found.calls == ()
    assert found.finish == "stop"


def test_usage_has_its_parts_in_the_whole() -> None:
    for name in NAMES:
        said = sayable(name, Said(text="x", used=SAID["cache-write tokens, 1 h"].used))
        used = heard(DIALECTS[name].answer(WRITERS[name].whole(said)).body).used
        assert used.prompt == 60
