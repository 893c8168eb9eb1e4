"""Which endpoint of which OpenAI-speaking service a path means."""

from __future__ import annotations

import re

from extproc.simulator.chat import Dialect
from extproc.simulator.completions import Completions
from extproc.simulator.embeddings import Embeddings
from extproc.simulator.openai import Chat
from extproc.simulator.openai_azure import Azure
from extproc.simulator.openai_servers import DeepSeek, Groq, OpenRouter
from extproc.simulator.openai_service import Service
from extproc.simulator.responses import Responses
from extproc.simulator.responses_kept import Cancel, Delete, Get, InputItems, InputTokens
from extproc.simulator.responses_store import Store

SERVICES: tuple[type[Service], ...] = (Service, Azure, DeepSeek, Groq, OpenRouter)
SERVERS = tuple(one.name for one in SERVICES)

_LACKS = {one.name: one.lacks for one in SERVICES}
_POST = re.compile(
    r"(?P<base>(?:/[^/]+)*?)/(?P<what>chat/completions|completions|embeddings|"
    r"responses(?:/input_tokens|/[^/]+/cancel)?)"
)
_GET = re.compile(r"(?P<base>(?:/[^/]+)*?)/responses/[^/]+(?P<items>/input_items)?")
_DELETE = re.compile(r"(?P<base>(?:/[^/]+)*?)/responses/[^/]+(?P<items>(?!))?")
_OF_METHOD = {"POST": _POST, "GET": _GET, "DELETE": _DELETE}
_PARTS = {"input_tokens": ".tokens", "cancel": ".cancel", "input_items": ".items"}
_ROOTS = ("", "/beta")
"""DeepSeek's endpoints need no version before them."""


def endpoints() -> dict[str, Dialect]:
    """Every endpoint by `service.what`; chat by the service's name alone. What responses keep is
    kept once for all."""
    store = Store()
    made: dict[str, Dialect] = {}
    for one in SERVICES:
        service = one()
        name = service.name
        made[name] = Chat(service)
        made[f"{name}.completions"] = Completions(service)
        made[f"{name}.embeddings"] = Embeddings(service)
        made[f"{name}.responses"] = Responses(service, store)
        made[f"{name}.responses.tokens"] = InputTokens(service, store)
        made[f"{name}.responses.cancel"] = Cancel(service, store)
        made[f"{name}.responses.get"] = Get(service, store)
        made[f"{name}.responses.delete"] = Delete(service, store)
        made[f"{name}.responses.items"] = InputItems(service, store)
    return made


def endpoint_of(method: str, path: str, usual: str) -> str | None:
    """The name in `endpoints`, or None when the path is not OpenAI's. `usual` is the dialect of
    the port or the headers; one of OpenAI's kin goes before what the path says."""
    found = _OF_METHOD[method].fullmatch(path) if method in _OF_METHOD else None
    if found is None:
        return None
    service = _service(found["base"], usual)
    what = found["what"] if method == "POST" else f"responses{found['items'] or ''}"
    if what == "chat/completions":
        return service
    if what.partition("/")[0] in _LACKS[service]:
        return None
    if method != "POST" and what == "responses":
        what = f"responses.{method.lower()}"
    return f"{service}.{what.partition('/')[0]}{_PARTS.get(what.rpartition('/')[2], '')}"


def spoken_by(endpoint: str, server: str | None) -> str:
    """The endpoint as another server has it; of no server, and beyond OpenAI's kin, the same."""
    service, dot, what = endpoint.partition(".")
    return f"{server}{dot}{what}" if server is not None and service in SERVERS else endpoint


def _service(base: str, usual: str) -> str:
    if usual in SERVERS[1:]:
        return usual
    if base.startswith("/openai"):
        return "groq" if base == "/openai/v1" else "azure"
    if base == "/api/v1":
        return "openrouter"
    return "deepseek" if base in _ROOTS else "openai"
