"""Azure OpenAI: the same format, at the paths of a resource's deployments."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from msgspec import structs

from extproc.dialects import ClientRequest, Wire
from extproc.dialects.openai.dialect import OpenAI
from extproc.dialects.openai.servers import Server, server_of
from extproc.policy import TargetPolicy


class Azure(OpenAI):
    """See `extproc.dialects.Dialect`.

    With a dated `api_version` an endpoint is `/openai/deployments/{deployment}/…?api-version=…`;
    without one it is `/openai/v1/…`, where the deployment's name stands for the model's. The
    responses API has no path of a deployment: dated or not, the body names it.
    """

    name: ClassVar[str] = "azure"
    title: ClassVar[str] = "Azure"

    def server(self, target: TargetPolicy) -> Server:
        """What is known of Azure."""
        return server_of(target.server or "azure")

    def path(self, endpoint: str, target: TargetPolicy) -> str:
        """Where an endpoint is."""
        base = (target.base_path or self.server(target).base_path).rstrip("/")
        version = target.api_version
        if version is None:
            return f"{base}/{endpoint}" if base.endswith("/v1") else f"{base}/v1/{endpoint}"
        query = f"?api-version={quote(version, safe='')}"
        if endpoint == "responses":
            return f"{base}/responses{query}"
        return f"{base}/deployments/{quote(_deployment(target), safe='')}/{endpoint}{query}"

    def write_native(self, request_: ClientRequest, body: bytes, target: TargetPolicy) -> Wire:
        """The client's body; the model in it is the deployment."""
        return super().write_native(request_, body, _named(target))

    def write_chat(self, request_: ClientRequest, target: TargetPolicy) -> Wire:
        """A request of another format as a chat request."""
        return super().write_chat(request_, _named(target))

    def ready(self, request_: ClientRequest, target: TargetPolicy) -> bool:
        """Not where the deployment is called otherwise than the model, which the body names."""
        return _deployment(target) == target.model and super().ready(request_, target)


def _deployment(target: TargetPolicy) -> str:
    return target.deployment or target.model


def _named(target: TargetPolicy) -> TargetPolicy:
    return structs.replace(target, model=_deployment(target))
