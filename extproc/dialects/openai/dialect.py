"""OpenAI, and the many servers that speak its format: what a client says in it passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from extproc import strict_json
from extproc.dialects import (
    ClientRequest,
    Counted,
    Failure,
    Passed,
    Reply,
    StreamReader,
    Vectors,
    Wire,
    errors,
)
from extproc.dialects.chat.completion import Completion, Writer
from extproc.dialects.chat.failures import of_error
from extproc.dialects.clients.chat import Chat
from extproc.dialects.openai import answer, request
from extproc.dialects.openai.patch import PatchReader, patched
from extproc.dialects.openai.servers import Server, server_of
from extproc.dialects.provider import Translated
from extproc.errors import bad_request
from extproc.policy import TargetPolicy

ENDPOINTS: Final = {
    "chat": "chat/completions",
    "completions": "completions",
    "embeddings": "embeddings",
    "responses": "responses",
}


class OpenAI(Translated):
    """See `extproc.dialects.Dialect`."""

    name: ClassVar[str] = "openai"
    title: ClassVar[str] = "this server"
    base_path: ClassVar[str] = "/v1"

    def server(self, target: TargetPolicy) -> Server:
        """What is known of the target's server."""
        return server_of(target.server)

    def path(self, endpoint: str, target: TargetPolicy) -> str:
        """Where an endpoint is."""
        base = self.server(target).base_path if target.base_path is None else target.base_path
        return f"{base.rstrip('/')}/{endpoint}"

    # --- what passes ----------------------------------------------------------------------

    def native(self, format_: str, target: TargetPolicy) -> bool:
        """Formats that the server takes, except where it tells the thinking in its own way."""
        server = self.server(target)
        if format_ == "chat" and server.answers != "openai":
            return False
        if format_ == "completions" and not request.matches(target.model, server.completes):
            return False
        return format_ in server.formats

    def _takes(self, format_: str, target: TargetPolicy) -> bool:
        return format_ == "chat" or self.native(format_, target)

    def droppable(self, target: TargetPolicy) -> frozenset[str]:
        """See `Dialect`."""
        server = self.server(target)
        found = {_FEATURE[name] for name in server.drops if name in _FEATURE}
        if request.matches(target.model, server.thinkers):
            found.add("penalties")
        return frozenset(found)

    def endpoint(self, format_: str, target: TargetPolicy) -> str:
        """See `Dialect`."""
        return self.path(ENDPOINTS[format_], target)

    def ready(self, request_: ClientRequest, target: TargetPolicy) -> bool:
        """A body that needs nothing but the model's name."""
        if not self.native(request_.format, target):
            return False
        chat = request_.chat
        if request_.format == "responses":
            return not request_.sealed
        if request_.format != "chat" or chat is None:
            return True
        return not request.adjusts(chat, request_.uses, target.model, self.server(target))

    def lacks(self, request_: ClientRequest, target: TargetPolicy) -> str | None:
        """What the server is known not to have."""
        server = self.server(target)
        if self._takes(request_.format, target):
            found = request_.native_only if request_.format == "responses" else None
            if found and found.startswith(_STATE) and not server.keeps_responses:
                return found
        elif request_.native_only is not None:
            return request_.native_only
        elif request_.format == "embeddings":
            return "embeddings: this server makes none"
        chat, most = request_.chat, server.most_stops
        if chat is not None and most is not None and len(chat.stops) > most:
            return f"stop: this server takes at most {most} stop sequences"
        for use in request_.uses:
            if use in server.lacks:
                return server.lacks[use]
        return None

    def write_native(self, request_: ClientRequest, body: bytes, target: TargetPolicy) -> Wire:
        """The client's body with another model; every other field keeps its bytes."""
        path = self.path(ENDPOINTS[request_.format], target)
        if request_.format != "chat":
            made = strict_json.splice(request_.passing(body), {"model": target.model})
            return Wire(path, made)
        assert request_.chat is not None  # noqa: S101 - a chat request has one
        made, warnings = request.passed(
            body, request_.chat, request_.uses, target.model, self.server(target)
        )
        return Wire(path, made, (), warnings, Reply(passed=True))

    def write(self, request_: ClientRequest, body: bytes, target: TargetPolicy) -> Wire | Counted:
        """See `Dialect`."""
        if refusal := self.lacks(request_, target):
            raise bad_request(refusal)
        if self._takes(request_.format, target):
            return self.write_native(request_, body, target)
        return super().write(request_, body, target)

    # --- what is translated ---------------------------------------------------------------

    def refusal(self, request_: ClientRequest, target: TargetPolicy) -> str | None:
        """See `lacks`."""
        return self.lacks(request_, target)

    def write_chat(self, request_: ClientRequest, target: TargetPolicy) -> Wire:
        """A request of another format as a chat request."""
        assert request_.chat is not None  # noqa: S101 - `Translated` asks for no other
        made, warnings = request.written(request_.chat, target.model, self.server(target))
        return Wire(
            self.path("chat/completions", target), made, (), warnings, Reply(model=target.model)
        )

    def read(self, body: bytes, reply: Reply) -> Completion | Vectors | Counted | Passed:
        """See `Dialect`."""
        if not reply.passed:
            return super().read(body, reply)
        refused = Chat().look(body)
        return Passed(patched(body), refused)

    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A chat completion, for a client of another format."""
        return answer.translate(body, int(self.clock()), reply.model)

    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """A reader of one stream of chunks."""
        if reply.passed:
            return PatchReader()
        return answer.Reader(writer, int(self.clock()))

    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """An error in any of the shapes that these servers give it."""
        return of_error(status, tree, headers, body)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """An error answer of any status and body."""
        tree = errors.parsed(body)
        if isinstance(tree, str):
            tree = {"error": tree}
        if not isinstance(tree, dict):
            return errors.unreadable(status, headers, body)
        return of_error(status, tree, headers, body)


_FEATURE: Final = {
    "seed": "seed",
    "presence_penalty": "penalties",
    "frequency_penalty": "penalties",
    "parallel_tool_calls": "parallel_tool_calls",
}
"""Features of the catalogue by the parameter that uses them."""
_STATE: Final = ("previous_response_id", "conversation", "item_reference", "background", "prompt:")
"""How the refusals begin of what a server can do only if it keeps responses."""
