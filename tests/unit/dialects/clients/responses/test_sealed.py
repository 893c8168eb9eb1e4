from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from extproc.dialects.chat.completion import ReasoningDetail
from extproc.dialects.clients.responses import for_native
from extproc.dialects.clients.responses.sealed import PREFIX, seal, unseal
from extproc.errors import ClientError

DETAIL = st.builds(
    ReasoningDetail,
    type=st.sampled_from(["reasoning.text", "reasoning.encrypted", "reasoning.summary"]),
    text=st.none() | st.text(),
    data=st.none() | st.text(),
    signature=st.none() | st.text(),
    format=st.none() | st.text(),
    index=st.none() | st.integers(0, 9),
)


@given(st.lists(DETAIL, max_size=3), st.dictionaries(st.text(), st.just({"google": {"x": 1}})))
def test_what_is_sealed_comes_back(
    details: list[ReasoningDetail], calls: dict[str, dict[str, object]]
) -> None:
    content = seal([Raw(msgspec.json.encode(one)) for one in details], calls)
    assert content.isascii()
    found = unseal(content, "x")
    assert found.details == details
    assert found.calls == calls


@given(st.text())
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ClientError) as found:
        unseal(PREFIX + text + "!", "x")
    assert (found.value.status, found.value.param) == (400, "x")


def thought(content: str | None) -> dict[str, object]:
    return {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": content}


def test_a_native_target_gets_only_what_it_wrote_itself() -> None:
    ours = seal([Raw(b'{"type":"reasoning.encrypted","data":"x"}')])
    items = [{"role": "user", "content": ours}, thought(ours), thought("gAAA"), thought(None)]
    body = json.dumps({"model": "m", "input": items, "top_p": 1.0}).encode()
    assert json.loads(for_native(body)) == {
        "model": "m",
        "input": [items[0], items[2], items[3]],
        "top_p": 1.0,
    }


@pytest.mark.parametrize("given_", ["x", PREFIX, [{"role": "user", "content": PREFIX}]])
def test_a_body_without_any_keeps_its_bytes(given_: object) -> None:
    body = json.dumps({"model": "m", "input": given_}, indent=1).encode()
    assert for_native(body) is body
