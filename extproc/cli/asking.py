"""What the commands that ask a running gateway share: connection, flags, errors in a line."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import click
from click.core import ParameterSource

from extproc import addresses
from extproc.cli.shown import plain
from extproc.spans import seconds_of

ADMIN: Final = "http://127.0.0.1:9902"
WITHIN: Final = 60.0
"""Seconds without a byte until an answer is given up."""
SILENT: Final = 30.0
"""The same for a live stream, which sends an empty line more often than that."""
READ: Final = 256 * 1024
"""Bytes at once of a stream."""
LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes of one line of a stream: a record with what was asked and answered is below."""


F = TypeVar("F", bound=Callable[..., Any])
Where = Sequence[tuple[str, str]]


class Failed(click.ClickException):
    """A refused or unanswered request: one line, exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Client:
    """Asks the admin port. Follows no redirect and uses no proxy: the token goes nowhere else."""

    admin: str
    """`http://HOST:PORT`, `https://HOST[:PORT]` or `unix:PATH`."""
    token: str | None = None

    def get(
        self,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        holds: Sequence[str],
        within: float = WITHIN,
        exact: bool = False,
    ) -> dict[str, Any]:
        """The answer, a JSON object with at least the fields that it `holds`. `exact`: fractions as
        decimals, for dollars have nine digits behind the point and any number before it. Raises
        Failed."""
        return self._whole("GET", path, query, holds=holds, within=within, exact=exact)

    def post(self, path: str, body: Mapping[str, Any], *, holds: Sequence[str]) -> dict[str, Any]:
        """The answer to a JSON body. Raises Failed."""
        sent = json.dumps(body).encode()
        return self._whole("POST", path, (), sent, "application/json", holds=holds)

    def send(
        self, path: str, body: bytes, content_type: str, *, holds: Sequence[str]
    ) -> dict[str, Any]:
        """The answer to any body. Raises Failed."""
        return self._whole("POST", path, (), body, content_type, holds=holds)

    def delete(
        self, path: str, query: Sequence[tuple[str, str]] = (), *, holds: Sequence[str]
    ) -> dict[str, Any]:
        """The answer to a removal. Raises Failed."""
        return self._whole("DELETE", path, query, holds=holds)

    def lines(
        self,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        within: float = WITHIN,
        longest: int = LONGEST_LINE,
    ) -> Iterator[bytes]:
        """The lines of an answer as they come, empty ones left out. Raises Failed, also when the
        answer breaks off, or for a line of more than `longest` bytes."""
        with self._asked("GET", path, query, within=within) as response:
            rest = b""
            while True:
                with self._blamed():
                    # Raises IncompleteRead where the connection ends before the answer does.
                    part = response.read1(READ)
                *whole, rest = (rest + part).split(b"\n")
                yield from (line for line in whole if line.strip())
                if len(rest) > longest:
                    raise Failed(f"{self.admin}: a line of the answer is too long")
                if not part:
                    break
            if rest.strip():
                raise Failed(f"{self.admin}: the answer broke off")

    def _whole(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        holds: Sequence[str],
        within: float = WITHIN,
        exact: bool = False,
    ) -> dict[str, Any]:
        asked = self._asked(method, path, query, body, content_type, within=within)
        with asked as response, self._blamed():
            text = response.read()
        return _object(text, holds, self.admin, Decimal if exact else float)

    @contextlib.contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        within: float = WITHIN,
    ) -> Iterator[http.client.HTTPResponse]:
        connection, base = self._connection(within)
        headers = {"accept": "application/json", "user-agent": "tollgate"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if content_type:
            headers["content-type"] = content_type
        asked = f"{base}{path}?{urlencode(query)}" if query else f"{base}{path}"
        try:
            with self._blamed():
                connection.request(method, asked, body, headers)
                response = connection.getresponse()
                if response.status >= 300:  # noqa: PLR2004 - not a success
                    raise Failed(_reason(response.status, response.read(LONGEST_LINE)))
            yield response
        finally:
            connection.close()

    def _connection(self, within: float) -> tuple[http.client.HTTPConnection, str]:
        if self.admin.startswith(addresses.UNIX):
            return _UnixConnection(self.admin.removeprefix(addresses.UNIX), within), ""
        url = urlsplit(self.admin)
        secure = url.scheme == "https"
        made = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return made(url.hostname or "", url.port, timeout=within), url.path.rstrip("/")

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise Failed(f"{self.admin}: no answer in time") from error
        except (http.client.IncompleteRead, ConnectionResetError) as error:
            raise Failed(f"{self.admin}: the answer broke off") from error
        except http.client.HTTPException as error:
            raise Failed(f"{self.admin} does not speak HTTP: {error!r}") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise Failed(f"cannot reach the gateway at {self.admin}: {why}") from error


def _object(
    text: bytes, holds: Sequence[str], admin: str, fraction: Callable[[str], object]
) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_float=fraction)
    except (ValueError, RecursionError) as error:
        raise Failed(f"{admin} is no admin port of Tollgate: its answer is no JSON") from error
    if not isinstance(found, dict) or not found.keys() >= set(holds):
        raise Failed(f"{admin} is no admin port of this Tollgate: its answer is another one")
    return found


def _reason(status: int, text: bytes) -> str:
    """What an error says, in one line."""
    try:
        error = json.loads(text)["error"]
        message = str(error["message"])
        if error.get("line") is not None:
            message = f"line {error['line']}: {message}"
        if error.get("param"):
            message = f"{error['param']}: {message}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"the gateway answered {status}"
    return message


def segment(text: str) -> str:
    """A piece of a path."""
    return quote(text, safe="")


# --- flags --------------------------------------------------------------------------------


class Url(click.ParamType[str]):
    """Where an admin port is."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As given, without a slash at its end."""
        if value.startswith(addresses.UNIX) and len(value) > len(addresses.UNIX):
            return value
        try:
            url = urlsplit(value)
            good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            good = False
        if not good or url.query or url.fragment or not value.isprintable() or " " in value:
            self.fail("must be http://HOST:PORT, https://HOST:PORT or unix:PATH", param, ctx)
        if "@" in url.netloc:
            self.fail("holds a user; give the token as --token or TOLLGATE_ADMIN_TOKEN", param, ctx)
        return value.rstrip("/")


class Token(click.ParamType[str]):
    """A secret that goes into a header."""

    name = "TOKEN"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Without white space around it; never shown."""
        value = value.strip()
        if not value.isascii() or not value.isprintable():
            self.fail("has characters that a header cannot carry", param, ctx)
        return value


class Moment(click.ParamType[str]):
    """A point in time; handed on as text, so that the gateway's clock decides what `7d` is."""

    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As given."""
        from extproc.accounting.rollup import QuestionError, moment  # noqa: PLC0415 - not for every command

        try:
            moment(value, 0.0)
        except QuestionError as error:
            self.fail(str(error), param, ctx)
        return value.strip()


def span_of(text: str) -> float:
    """Seconds of `90s`, `90m`, `24h`, `7d` or `2w`. Raises ValueError."""
    found = seconds_of(text.strip())
    if found is None:
        raise ValueError("must be a span such as 90m, 24h or 7d")
    return float(found)


class Span(click.ParamType[float]):
    """A length of time, in seconds."""

    name = "SPAN"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return span_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SPAN: Final = Span()


class Pair(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`."""

    name = "NAME=VALUE"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = value.partition("=")
        if not equals or not name.strip():
            self.fail("must be NAME=VALUE", param, ctx)
        return name.strip(), rest


class Names(click.ParamType[str]):
    """Names with commas between them."""

    name = "NAME[,NAME…]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As given, without blanks."""
        names = [one.strip() for one in value.split(",")]
        if not all(names):
            self.fail("must be names with commas between them", param, ctx)
        if len(set(names)) != len(names):
            self.fail("names something twice", param, ctx)
        return ",".join(names)


def reaching(command: F) -> F:
    """The flags of every command that asks a gateway, which it gets as `client`."""

    @click.option("--admin", type=Url(), envvar="TOLLGATE_ADMIN", default=ADMIN, show_default=True,
                  show_envvar=True, help="The gateway's admin port.")  # fmt: skip
    @click.option("--token", type=Token(), envvar="TOLLGATE_ADMIN_TOKEN", default=None,
                  show_envvar=True, help="The admin port's token.")  # fmt: skip
    @click.pass_context
    @functools.wraps(command)
    def with_client(ctx: click.Context, /, *args: Any, **flags: Any) -> Any:
        found = {name: _nearest(ctx, name, flags.pop(name)) for name in ("admin", "token")}
        return command(*args, client=Client(found["admin"], found["token"] or None), **flags)

    return cast(F, with_client)


def _nearest(ctx: click.Context, name: str, own: Any) -> Any:
    """A flag given to a command, else to one that it is a part of, else the command's own."""
    above: click.Context | None = ctx
    while above is not None:
        if above.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            return above.params[name]
        above = above.parent
    return own


def where_query(where: Where) -> list[tuple[str, str]]:
    """`where` as the admin port takes it."""
    return [("where", f"{name}={value}") for name, value in where]
