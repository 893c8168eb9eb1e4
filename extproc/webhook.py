"""A webhook: one POST to the one place that an operator named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp

SEND_WITHIN: Final = 10.0
"""Seconds for one request."""


class WebhookError(Exception):
    """It was not taken; the text says why and holds no secret."""


class Webhook:
    """Posts bodies to a URL; any 2xx means taken. Redirects are not followed: the token is for the
    one place that was named."""

    def __init__(
        self,
        url: str,
        *,
        what: str,
        variable: str,
        token: str | None = None,
        within: float = SEND_WITHIN,
    ) -> None:
        """`what`: whose URL it is, for errors ("a sink's"). `variable`: where the token is from.
        `token`: sent as bearer token. Raises ValueError for what is no http(s) URL and for what
        cannot be sent in a header."""
        try:
            split = urlsplit(url)
            usable = split.scheme in ("http", "https") and split.hostname is not None
            place = f"{split.scheme}://{split.hostname}" + (f":{split.port}" if split.port else "")
        except ValueError:
            usable, place = False, ""
        if not usable:
            raise ValueError(f"{what} URL must be http:// or https:// with a host")
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise ValueError(f"{variable} must be printable ASCII")
        self._url = url
        self._place = place
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._timeout = aiohttp.ClientTimeout(total=within)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a body. Raises WebhookError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(
                self._url, data=body, headers={**self._headers, **headers}, allow_redirects=False
            ) as response:
                status = response.status
        except TimeoutError as error:
            raise WebhookError(f"{self._place}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise WebhookError(f"{self._place}: {type(error).__name__}") from error
        if not 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3: successful
            raise WebhookError(f"{self._place}: status {status}")

    async def close(self) -> None:
        """Give connections back."""
        if self._session is not None:
            await self._session.close()
            self._session = None
