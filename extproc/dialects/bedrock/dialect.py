"""Amazon Bedrock's Converse API. Envoy signs what goes up: see `extproc.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from extproc.dialects import ClientRequest, Counted, Failure, Reply, StreamReader, Wire
from extproc.dialects.bedrock import answer, models, problems, request, stream
from extproc.dialects.chat.completion import Completion, Count, Writer
from extproc.dialects.provider import Translated
from extproc.policy import TargetPolicy


class _Count(Struct, rename="camel"):
    input_tokens: Count


class Bedrock(Translated):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "bedrock"
    title: ClassVar[str] = "Bedrock"
    base_path: ClassVar[str] = ""
    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"
    drops: ClassVar[frozenset[str]] = frozenset({"seed", "penalties", "parallel_tool_calls"})

    def refusal(self, asked: ClientRequest, target: TargetPolicy) -> str | None:
        """What Bedrock cannot be asked for."""
        assert asked.chat is not None  # noqa: S101 - `Translated` asks for no other
        return request.lacks(asked.chat, asked.uses, target.model)

    def write_chat(self, asked: ClientRequest, target: TargetPolicy) -> Wire:
        """`POST /model/{id}/converse`, or `/converse-stream`."""
        assert asked.chat is not None  # noqa: S101 - `Translated` asks for no other
        if refusal := request.asked_for(asked.chat, asked.uses, target.model):
            raise ValueError(refusal)
        made = request.translate(asked.chat, asked.uses, target.model, target.output_cap)
        method = "converse-stream" if asked.stream else "converse"
        return Wire(self._path(target, method), made.body, (), made.warnings, made.reply)

    def write_count(self, asked: ClientRequest, target: TargetPolicy) -> Wire | Counted:
        """`POST /model/{id}/count-tokens`, which only Claude's models have, under their own ids
        and not a profile's; of others an estimate."""
        chat = asked.chat
        known = models.of(target.model)
        if chat is None or not known.claude:
            return super().write_count(asked, target)
        made = msgspec.json.decode(
            request.translate(chat, asked.uses, target.model, target.output_cap).body,
            type=dict[str, msgspec.Raw],
        )
        counted = {
            name: made[name]
            for name in ("messages", "system", "toolConfig", "additionalModelRequestFields")
            if name in made
        }
        body = msgspec.json.encode({"input": {"converse": counted}})
        reply = Reply("count_tokens", model=target.model)
        path = self._path(msgspec.structs.replace(target, model=known.foundation), "count-tokens")
        return Wire(path, body, (), (), reply)

    def read_count(self, body: bytes) -> Counted:
        """A whole answer to it."""
        return Counted(msgspec.json.decode(body, type=_Count).input_tokens)

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole answer."""
        return answer.translate(body, int(self.clock()), self.mint, reply)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream of messages."""
        return stream.Reader(writer, int(self.clock()), self.mint, reply)

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """An error object under a status."""
        return problems.of_error(status, tree, headers, body)

    def _path(self, target: TargetPolicy, method: str) -> str:
        return f"{self.base(target)}/model/{quote(target.model, safe='')}/{method}"
