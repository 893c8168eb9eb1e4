import pytest

from extproc.simulator.openai_routes import endpoint_of, endpoints

ROUTES = [
    ("POST", "/v1/chat/completions", "openai"),
    ("POST", "/v1beta/openai/chat/completions", "openai"),
    ("POST", "/v1/completions", "openai.completions"),
    ("POST", "/v1/embeddings", "openai.embeddings"),
    ("POST", "/v1/responses", "openai.responses"),
    ("POST", "/v1/responses/input_tokens", "openai.responses.tokens"),
    ("POST", "/v1/responses/resp_1/cancel", "openai.responses.cancel"),
    ("GET", "/v1/responses/resp_1", "openai.responses.get"),
    ("DELETE", "/v1/responses/resp_1", "openai.responses.delete"),
    ("GET", "/v1/responses/resp_1/input_items", "openai.responses.items"),
    ("DELETE", "/v1/responses/resp_1/input_items", None),
    ("PATCH", "/v1/responses/resp_1", None),
    ("GET", "/v1/chat/completions", None),
    ("POST", "/v1/messages", None),
    ("POST", "/openai/deployments/d/chat/completions", "azure"),
    ("POST", "/openai/deployments/d/embeddings", "azure.embeddings"),
    ("POST", "/openai/responses", "azure.responses"),
    ("POST", "/openai/v1/chat/completions", "groq"),
    ("POST", "/openai/v1/responses", "groq.responses"),
    ("POST", "/openai/v1/embeddings", None),
    ("POST", "/api/v1/chat/completions", "openrouter"),
    ("POST", "/chat/completions", "deepseek"),
    ("POST", "/beta/completions", "deepseek.completions"),
    ("POST", "/responses", None),
]


@pytest.mark.parametrize(("method", "path", "endpoint"), ROUTES)
def test_paths(method: str, path: str, endpoint: str | None) -> None:
    assert endpoint_of(method, path, "anthropic") == endpoint
    assert endpoint is None or endpoint in endpoints()


def test_the_ports_own_server_goes_before_the_path() -> None:
    assert endpoint_of("POST", "/v1/chat/completions", "groq") == "groq"
    assert endpoint_of("POST", "/openai/v1/embeddings", "azure") == "azure.embeddings"
