"""A no-op ext_proc service: what any service that Envoy asks must cost, and nothing more.

Same transport and loop as Tollgate's worker (grpc.aio, uvloop, one Unix socket); each message is
decoded by upb, answered with a prebuilt reply, and no body is looked into. `python -m
tests.bench.noop ADDRESS BYTES` lets nothing pass: the request's body is answered in the provider's
place, with a JSON body of so many bytes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import uvloop
from grpc_health.v1 import _async as health
from grpc_health.v1 import health_pb2, health_pb2_grpc

from extproc.headers import HEALTH_TARGET
from extproc.pb import ext_proc_pb2 as pb

METHOD: Final = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
KINDS: Final = (
    "request_headers",
    "request_body",
    "response_headers",
    "response_body",
    "response_trailers",
)


def _reply(kind: str) -> bytes:
    reply = pb.ProcessingResponse()
    getattr(reply, kind).SetInParent()
    return reply.SerializeToString()


REPLIES: Final = {kind: _reply(kind) for kind in KINDS}


async def process(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Let everything pass."""
    while True:
        message: Any = await context.read()
        if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # not in the stubs
            return
        await context.write(REPLIES[message.WhichOneof("request")])


def answering(size: int) -> Callable[..., Awaitable[None]]:
    """As `process`, but it answers in the provider's place when the request's body has come."""
    reply = pb.ProcessingResponse()
    answer = reply.immediate_response
    answer.status.code = 200
    answer.body = b'"' + (size - 2) * b"x" + b'"'
    header = answer.headers.set_headers.add().header
    header.key, header.raw_value = "content-type", b"application/json"
    sent = reply.SerializeToString()

    async def answered(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while True:
            message: Any = await context.read()
            if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # not in the stubs
                return
            kind = message.WhichOneof("request")
            if kind == "request_body":
                await context.write(sent)
                return
            await context.write(REPLIES[kind])

    return answered


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # no class to subscript at run time
    def __init__(self, serve: Callable[..., Awaitable[None]]) -> None:
        self._method = grpc.stream_stream_rpc_method_handler(
            serve, pb.ProcessingRequest.FromString, None
        )

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._method if details.method == METHOD else None


async def serve(address: str, size: int = 0) -> None:
    """Serve on `unix:PATH` until SIGTERM; with a `size`, answer with so many bytes."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    checks = health.HealthServicer()
    for name in (METHOD.split("/")[1], HEALTH_TARGET):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    server.add_generic_rpc_handlers((_Handler(answering(size) if size else process),))
    server.add_insecure_port(address)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0.2)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
