import json
from typing import Any

import pytest

from extproc.dialects.chat.request import FIELDS
from extproc.dialects.openai import Azure, OpenAI
from extproc.dialects.openai.servers import UNKNOWN, server_at, server_of, servers
from tests.unit.dialects.level import FORMATS, Level, policy

NAMES = ("openai", "azure", "vllm", "ollama", "llama_cpp", "groq", "mistral", "deepseek",
         "openrouter", "cerebras")  # fmt: skip


def body(**fields: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    ).encode()


def test_every_server_that_is_promised_has_an_entry() -> None:
    assert set(NAMES) <= set(servers())


@pytest.mark.parametrize("name", servers())
def test_entries_speak_of_fields_that_there_are(name: str) -> None:
    server = server_of(name)
    assert set(server.drops) <= FIELDS
    assert set(server.renames) <= FIELDS
    assert set(server.formats) <= set(FORMATS) | {"responses"}
    for feature, text in server.lacks.items():
        assert text.startswith(f"{feature}: ")
        assert "not yet" not in text


def test_a_server_is_known_by_its_host() -> None:
    assert server_at("api.openai.com") == "openai"
    assert server_at("mine.openai.azure.com") == "azure"
    assert server_at("openrouter.ai") == "openrouter"
    assert server_at("evil-openrouter.ai") is None
    assert server_of(server_at("127.0.0.1")) is UNKNOWN
    assert server_of("never heard of") is UNKNOWN


@pytest.mark.parametrize(
    ("server", "path"),
    [
        (None, "/v1/chat/completions"),
        ("groq", "/openai/v1/chat/completions"),
        ("deepseek", "/chat/completions"),
        ("openrouter", "/api/v1/chat/completions"),
    ],
)
def test_each_has_its_own_path(server: str | None, path: str) -> None:
    assert Level(OpenAI(), server=server).request(body()).path == path


@pytest.mark.parametrize(
    ("format_", "given", "path"),
    [
        ("chat", body(), "chat/completions"),
        ("completions", b'{"model":"m","prompt":"x"}', "completions"),
        ("embeddings", b'{"model":"m","input":"x"}', "embeddings"),
    ],
)
def test_azure_names_the_deployment_in_the_path(format_: str, given: bytes, path: str) -> None:
    model = "gpt-35-turbo-instruct"
    dated = Level(Azure(), format_, model=model, deployment="my dep", api_version="2024-10-21")
    assert dated.request(given).path == (
        f"/openai/deployments/my%20dep/{path}?api-version=2024-10-21"
    )
    undated = Level(Azure(), format_, model=model, deployment="dep")
    made = undated.request(given)
    assert made.path == f"/openai/v1/{path}"
    assert b'"model":"dep"' in made.body


def test_azure_at_a_path_of_its_own() -> None:
    level = Level(Azure(), base_path="/gateway/openai", api_version="2024-10-21")
    assert level.request(body()).path.startswith("/gateway/openai/deployments/m/chat/completions?")


def test_azure_needs_a_look_at_a_body_only_for_another_name() -> None:
    request = FORMATS["chat"].parse(body())
    assert Azure().ready(request, policy("azure"))
    assert not Azure().ready(request, policy("azure", deployment="other"))
