"""What the providers that must be translated have in common."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from extproc.catalogue import estimate
from extproc.dialects import (
    MOST_OUTPUT,
    BadAnswerError,
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
from extproc.errors import bad_request
from extproc.policy import TargetPolicy

EMBEDDINGS_LACK = "embeddings: {} makes none"


class Translated(ABC):
    """See `extproc.dialects.Dialect`. `clock` gives seconds since the epoch, `mint` an id for
    an answer that has none.

    A provider gives `name`, `title` (in messages), `base_path`, `drops`, `refusal`, `write_chat`,
    `read_chat`, `stream` and `of_error`, and overrides what it can do beyond that.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    base_path: ClassVar[str]
    stream_type: ClassVar[str] = "text/event-stream"
    drops: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        mint: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.clock = clock
        self.mint = mint

    # --- what a provider gives ------------------------------------------------------------

    @abstractmethod
    def refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """What of a chat request cannot be carried: see `Dialect.lacks`."""

    @abstractmethod
    def write_chat(self, request: ClientRequest, target: TargetPolicy) -> Wire:
        """A chat request. Raises ValueError for what `refusal` names."""

    @abstractmethod
    def read_chat(self, body: bytes, reply: Reply) -> Completion:
        """A whole answer. Raises BadAnswerError, or what msgspec raises."""

    @abstractmethod
    def stream(self, writer: Writer, reply: Reply) -> StreamReader:
        """See `Dialect.stream`."""

    @abstractmethod
    def of_error(
        self, status: int, tree: dict[str, object], headers: Mapping[str, str], body: bytes
    ) -> Failure:
        """An error body that is a JSON object."""

    # --- what it may override -------------------------------------------------------------

    def native(self, format_: str, target: TargetPolicy) -> bool:  # noqa: ARG002 - the door's shape
        """No client format is the provider's."""
        return False

    def droppable(self, target: TargetPolicy) -> frozenset[str]:  # noqa: ARG002 - what it may override
        """The same for every target."""
        return self.drops

    def endpoint(self, format_: str, target: TargetPolicy) -> str:
        """Where a body goes that is `ready`."""
        raise NotImplementedError

    def ready(self, request: ClientRequest, target: TargetPolicy) -> bool:  # noqa: ARG002 - the door's shape
        """No body of a client is the provider's."""
        return False

    def write_native(self, request: ClientRequest, body: bytes, target: TargetPolicy) -> Wire:
        """A client's body that passes. Only of formats that are `native`."""
        raise NotImplementedError

    def write_embeddings(self, request: ClientRequest, target: TargetPolicy) -> Wire:  # noqa: ARG002 - what it may override
        """An embeddings request. Raises ValueError: the provider makes none."""
        raise ValueError(EMBEDDINGS_LACK.format(self.title))

    def embeddings_refusal(self, request: ClientRequest, target: TargetPolicy) -> str | None:  # noqa: ARG002 - what it may override
        """What of an embeddings request cannot be carried."""
        return EMBEDDINGS_LACK.format(self.title)

    def read_embeddings(self, body: bytes, reply: Reply) -> Vectors:
        """A whole answer to an embeddings request."""
        raise NotImplementedError

    def write_count(self, request: ClientRequest, target: TargetPolicy) -> Wire | Counted:  # noqa: ARG002 - what it may override
        """A request to count a prompt's tokens. Without an endpoint for it: an estimate."""
        return estimated(request)

    def read_count(self, body: bytes) -> Counted:
        """A whole answer to such a request."""
        raise NotImplementedError

    def limits(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:  # noqa: ARG002 - what it may override
        """The provider has no rate-limit headers of its own."""
        return []

    # --- the door -------------------------------------------------------------------------

    def lacks(self, request: ClientRequest, target: TargetPolicy) -> str | None:
        """See `Dialect`."""
        if self.native(request.format, target):
            return None
        if request.native_only is not None:
            return request.native_only
        if request.format == "count_tokens":
            return None
        if request.chat is None:
            return self.embeddings_refusal(request, target)
        return self.refusal(request, target)

    def write(self, request: ClientRequest, body: bytes, target: TargetPolicy) -> Wire | Counted:
        """See `Dialect`."""
        if self.native(request.format, target):
            return self.write_native(request, body, target)
        if refusal := request.native_only:
            raise bad_request(refusal)
        request, target = _within(request, target)
        try:
            if request.format == "count_tokens":
                return self._count(request, target)
            if request.chat is None:
                return self.write_embeddings(request, target)
            wire = self.write_chat(request, target)
        except ValueError as error:
            raise bad_request(self.lacks(request, target) or str(error)) from error
        if not (request.dropped or request.unknown):
            return wire
        warnings = (*request.dropped, *wire.warnings, *request.unknown)
        return replace(wire, warnings=warnings)

    def _count(self, request: ClientRequest, target: TargetPolicy) -> Wire | Counted:
        try:
            return self.write_count(request, target)
        except ValueError:
            # What it cannot be asked, it cannot be asked the length of.
            return estimated(request)

    def read(self, body: bytes, reply: Reply) -> Completion | Vectors | Counted | Passed:
        """See `Dialect`."""
        try:
            if reply.kind == "chat":
                return self.read_chat(body, reply)
            if reply.kind == "embeddings":
                return self.read_embeddings(body, reply)
            return self.read_count(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadAnswerError("not an answer: " + errors.plain(200, body)) from error

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """See `Dialect`."""
        tree = errors.parsed(body)
        if not isinstance(tree, dict):
            return errors.unreadable(status, headers, body)
        return self.of_error(status, tree, headers, body)

    def base(self, target: TargetPolicy) -> str:
        """The path in front of the endpoint."""
        return self.base_path if target.base_path is None else target.base_path.rstrip("/")


def _within(request: ClientRequest, target: TargetPolicy) -> tuple[ClientRequest, TargetPolicy]:
    """The request with a bound on its answer that a provider can read, for a target that writes no
    more than the bound if that must hold."""
    chat = request.chat
    allowed = None if chat is None else chat.max_output
    if chat is None or allowed is None:
        return request, target
    if allowed > MOST_OUTPUT:
        allowed = target.output_cap or MOST_OUTPUT
        chat = replace(chat, max_tokens=None, max_completion_tokens=allowed)
        request = replace(request, chat=chat)
    if request.bounded:
        target = replace(target, output_cap=min(allowed, target.output_cap or allowed))
    return request, target


def estimated(request: ClientRequest) -> Counted:
    """A prompt's length as the gateway's own estimator has it."""
    return Counted(estimate(*request.text, request.messages), estimated=True)
