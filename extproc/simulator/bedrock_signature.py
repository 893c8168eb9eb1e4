"""AWS Signature Version 4, as the service checks it.

The steps are those of "Create a signed AWS API request" in the IAM user guide. Services other
than S3 encode the path of the request once more for the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

import msgspec

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/\s,]+)/"
    r"(?P<scope>\d{8}/[a-z0-9-]+/(?P<service>[a-z0-9-]+)/aws4_request), ?"
    r"SignedHeaders=(?P<headers>[a-z0-9;_-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW = timedelta(minutes=5)
"""How far the clocks may be apart."""


class Claim(msgspec.Struct, frozen=True):
    """What an `authorization` header says."""

    key: str
    scope: str
    """Day, region, service and `aws4_request`."""
    service: str
    headers: tuple[str, ...]
    signature: str


def claimed(authorization: str) -> Claim | None:
    """Read the header; None when it is malformed."""
    found = _HEADER.fullmatch(authorization.strip())
    if found is None:
        return None
    names = tuple(found["headers"].split(";"))
    return Claim(found["key"], found["scope"], found["service"], names, found["signature"])


def broken(
    claim: Claim,
    secret: str,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | None = None,
) -> str | None:
    """What AWS says to a POST whose signature does not hold, or None when it holds.

    `path` and `query` are as on the wire, header names in small letters."""
    date = headers.get("x-amz-date", "")
    try:
        when = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "Date must be in ISO-8601 'basic format'."
    clock = now or datetime.now(UTC)
    if abs(clock - when) > _SKEW:
        return f"Signature expired: {date} is now earlier than {clock - _SKEW:%Y%m%dT%H%M%SZ}"
    if not {"host", "x-amz-date"} <= set(claim.headers):
        return "'Host' and 'x-amz-date' must be in SignedHeaders."
    digest = hashlib.sha256(body).hexdigest()
    if headers.get("x-amz-content-sha256", digest) != digest:
        return "The provided 'x-amz-content-sha256' header does not match what was computed."
    canonical = _canonical(claim, path, query, headers, digest)
    text = "\n".join(
        ["AWS4-HMAC-SHA256", date, claim.scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4" + secret.encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    if hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), claim.signature):
        return None
    return (
        "The request signature we calculated does not match the signature you provided. Check "
        "your AWS Secret Access Key and signing method. Consult the service documentation for "
        "details."
    )


def _canonical(claim: Claim, path: str, query: str, headers: Mapping[str, str], digest: str) -> str:
    """The request in the form that is signed."""
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    lines = [f"{name}:{' '.join(headers.get(name, '').split())}" for name in claim.headers]
    return "\n".join(
        [
            "POST",
            quote(path or "/", safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *lines,
            "",
            ";".join(claim.headers),
            digest,
        ]
    )
