"""A no-op ext_proc service: what any service that Envoy asks must cost, and nothing more.

Same transport and loop as Tollgate's worker (grpc.aio, uvloop, one Unix socket); each message is
decoded by upb, answered with a prebuilt reply, and no body is looked into.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import grpc
import uvloop

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


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # no class to subscript at run time
    def __init__(self) -> None:
        self._method = grpc.stream_stream_rpc_method_handler(
            process, pb.ProcessingRequest.FromString, None
        )

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return self._method if details.method == METHOD else None


async def serve(address: str) -> None:
    """Serve on `unix:PATH` until SIGTERM."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((_Handler(),))
    server.add_insecure_port(address)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0.2)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
