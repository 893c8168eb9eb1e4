"""What is known of the servers that speak OpenAI's format: `servers.toml`, read once."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Final, Literal

import msgspec

OPENAI: Final = "openai"


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One server. The defaults are those of one that nothing is known of: it is taken to speak
    chat, completions and embeddings as OpenAI does."""

    hosts: tuple[str, ...] = ()
    """Where it is reached; a leading dot stands for any host below."""
    base_path: str = "/v1"
    """Path in front of the endpoints, unless the provider's URL has one."""
    formats: tuple[str, ...] = ("chat", "completions", "embeddings")
    """Client formats that it takes itself."""
    most_stops: int | None = None
    """Stop sequences that it takes at most."""
    keeps_responses: bool = False
    """`previous_response_id` works."""
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """How a bound on the answer is written."""
    thinkers: tuple[str, ...] = ()
    """Models, as shell patterns, that think: they answer 400 to `max_tokens` and want the newer
    word, and, unless told not to think, to sampling parameters other than the defaults."""
    completes: tuple[str, ...] = ("*",)
    """Models, as shell patterns, that its completions endpoint knows; others chat."""
    thinking: Literal["reasoning_effort", "reasoning", "thinking", "none"] = "reasoning_effort"
    """How thinking is asked for: OpenAI's word, OpenRouter's object, Anthropic's object."""
    turns: tuple[str, ...] = ()
    """What it takes back of an earlier turn's thinking: `reasoning_content`, `reasoning`,
    `reasoning_details`, `extra_content`. The rest is left out for it."""
    takes: tuple[str, ...] = ()
    """Of what is not OpenAI's: `top_k`, `cache_control`, `is_error`, `cache_write`."""
    drops: tuple[str, ...] = ()
    """Parameters that it answers with an error and that do not change the meaning."""
    renames: dict[str, str] = {}
    """Parameters that it calls something else."""
    lacks: dict[str, str] = {}
    """Features that it has not, with the refusal's detail."""
    developer: bool = True
    """It knows the role `developer`; else that becomes `system`."""
    strict_fields: bool = False
    """It refuses fields of a message that are not OpenAI's."""
    answers: Literal["openai", "reasoning", "parts"] = "openai"
    """How thinking comes back: as `reasoning_content` or not at all; as `reasoning`; as parts of
    the content. The latter two are given to clients as `reasoning_content` as well."""


UNKNOWN: Final = Server()


@cache
def servers() -> dict[str, Server]:
    """Every known server by name. Raises ValueError naming what is wrong with the table."""
    table = resources.files(__package__).joinpath("servers.toml").read_text("utf-8")
    try:
        return msgspec.convert(tomllib.loads(table), dict[str, Server])
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"servers.toml: {error}") from error


def server_of(name: str | None) -> Server:
    """The entry of a name; the one that nothing is known of, if there is none."""
    return servers().get(name, UNKNOWN) if name else UNKNOWN


def server_at(host: str) -> str | None:
    """The name of the server that is reached at a host."""
    for name, server in servers().items():
        for one in server.hosts:
            if host == one or (one.startswith(".") and host.endswith(one)):
                return name
    return None
