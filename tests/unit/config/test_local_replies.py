"""What Envoy itself answers, in the format of the client that asked."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
import pytest
from anthropic import Anthropic, APIStatusError, NotFoundError
from anthropic.types import MessageParam
from anthropic.types.shared import APIErrorObject, ErrorResponse
from anthropic.types.shared import NotFoundError as NotFound

from extproc.config import load
from tests.unit.config.envoy import Envoy

pytestmark = pytest.mark.e2e
GATEWAY = """\
providers:
  local: {dialect: openai, url: "http://127.0.0.1:9"}
targets:
  llama: {provider: local, model: llama-3.1-8b-instruct}
chains:
  flagship: [llama]
routes:
  - {name: everything, match: {headers: {x-served: "yes"}}, chain: flagship}
"""
SERVED = {"x-served": "yes"}
DOWN = "gateway policy service unavailable"
NOWHERE = "no route of this gateway takes the request"


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Envoy]:
    """No service is there."""
    one = Envoy(tmp_path_factory.mktemp("envoy"), load(GATEWAY))
    try:
        one.wait_for_workers()
        yield one
    finally:
        one.stop()


def ask(envoy: Envoy, path: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"http://127.0.0.1:{envoy.port}{path}", json={}, headers=headers)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens?beta=true"])
def test_a_client_of_anthropics_format_gets_its_error(envoy: Envoy, path: str) -> None:
    down = ask(envoy, path, SERVED)
    assert down.status_code == 503
    assert down.headers["content-type"] == "application/json"
    assert down.json() == {"type": "error", "error": {"type": "api_error", "message": DOWN}}
    missing = ask(envoy, path, {})
    assert missing.status_code == 404
    error = {"type": "not_found_error", "message": NOWHERE}
    assert missing.json() == {"type": "error", "error": error}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"])
def test_a_client_of_openais_format_gets_its_error(envoy: Envoy, path: str) -> None:
    down = ask(envoy, path, SERVED)
    assert down.status_code == 503
    error = {"message": DOWN, "type": "server_error", "param": None, "code": "service_unavailable"}
    assert down.json() == {"error": error}
    missing = ask(envoy, path, {})
    error = {"message": NOWHERE, "type": "invalid_request_error", "param": None}
    assert missing.json() == {"error": {**error, "code": "not_found"}}


def test_headers_that_are_too_large_have_no_path_to_tell_the_format_by(envoy: Envoy) -> None:
    found = ask(envoy, "/v1/messages", {**SERVED, "x-long": "x" * 70_000})
    assert found.status_code == 431
    assert found.json()["error"]["code"] == "request_headers_too_large"


def test_the_sdk_reads_it(envoy: Envoy) -> None:
    turn: MessageParam = {"role": "user", "content": "Hi"}
    with Anthropic(
        base_url=f"http://127.0.0.1:{envoy.port}", api_key="tg", max_retries=0
    ) as client:
        with pytest.raises(NotFoundError) as missing:
            client.messages.count_tokens(model="m", messages=[turn])
        with pytest.raises(APIStatusError) as down:
            client.messages.count_tokens(model="m", messages=[turn], extra_headers=SERVED)
    assert isinstance(ErrorResponse.model_validate(missing.value.body).error, NotFound)
    assert isinstance(ErrorResponse.model_validate(down.value.body).error, APIErrorObject)
