"""`tollgate cache import`: answers from a file, before anybody has asked."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import click

from extproc.cli.asking import Client, Failed, reaching, span_of
from extproc.cli.shown import count, dumped, plain

CONFIG: Final = Path("envoy/gateway.yaml")
"""As `tollgate run` has it."""
LINES: Final = 200
BYTES: Final = 4 << 20
"""Of a batch, or one line more."""
LONGEST: Final = 56 << 20
"""Bytes of a line: with what else is in a batch, what the gateway takes."""
SHOWN: Final = 100
"""Wrong lines that are named; more are counted."""
EVERY: Final = 5.0
"""Seconds between two lines of progress where they cannot be written over each other."""
SCOPES: Final = ("tenant", "shared")
"""For whom answers can be kept that nobody has asked for yet."""
FORMATS: Final = ("chat", "messages", "responses", "completions")
_TITLE: Final = b'{"export"'

Json = dict[str, Any]


class Fields(click.ParamType[Json]):
    """A JSON object."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Json:
        """Read."""
        import json  # noqa: PLC0415 - for who says it

        if isinstance(value, dict):
            return value
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self.fail("must be a JSON object", param, ctx)
        return found


class Ttl(click.ParamType[float]):
    """A length of time, in seconds."""

    name = "SPAN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        try:
            return value if isinstance(value, float) else span_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--config", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help=f"The gateway.yaml with the routes' policies. By default {CONFIG}, if there is "
                   "one.")  # fmt: skip
@click.option("--no-config", is_flag=True, help="Without one: each route by the defaults.")
@click.option("--route", metavar="NAME",
              help="The route that clients will ask at. By default the only one there "
                   "is.")  # fmt: skip
@click.option("--model", metavar="NAME", help="The model, as clients will ask for it.")
@click.option("--tenant", metavar="NAME", help="Whose answers they are. None: nobody's in "
                                               "particular.")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(FORMATS), help="Which API clients will "
              "ask with. By default chat.")  # fmt: skip
@click.option("--system", metavar="TEXT", help="The system prompt that clients will send.")
@click.option("--fields", type=Fields(),
              help="What else stands in the clients' requests: "
                   "'{\"temperature\": 0}'.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="On each entry; may be repeated.")
@click.option("--ttl", type=Ttl(), help="How long they are kept. By default as the policy has it, "
                                        "by kind.")  # fmt: skip
@click.option("--kind", metavar="NAME", help="Of content. By default told by the question.")
@click.option("--scope", type=click.Choice(SCOPES),
              help="Who shares them. By default as the policy has it; without one, the "
                   "tenant.")  # fmt: skip
@click.option("--target", metavar="NAME",
              help="Whose answers they count as. None: nobody's, and any request may get "
                   "them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="What became of it as JSON.")
@reaching
def import_(
    *,
    client: Client,
    file: IO[bytes],
    config: Path | None,
    no_config: bool,
    scope: str | None,
    format_: str | None,
    as_json: bool,
    **said: Any,
) -> None:
    """Keep the answers of FILE (JSON lines; - for standard input) before anybody has asked.

    \b
    A line is a question and its answer,
      {"question": "…", "answer": "…"}
    a whole request and its answer (words, or a whole answer),
      {"request": {"model": "…", "messages": […]}, "answer": "…"}
    or an entry as `export` wrote it.

    Beside them a line may say route, model, tenant, system, kind, ttl, tags, format, fields,
    headers, target and cost, each over the flag of that name. On a route whose scope is one user or
    one session, nothing can be imported: only a request tells whose it is.

    A request finds an answer if it is the same request: the same model, system prompt and whatever
    else shapes an answer. A question stands for the request with the model, the system prompt if
    there is one, the question as the user's, and nothing else. If clients send more (temperature,
    tools, response_format, max_tokens), say so with --fields, or give whole requests. On a route
    with `mode: semantic` other wordings of a question find it too.

    Wrong lines are named, and the others kept; the exit code is then 1. What is there already is
    replaced, so a file may be imported again.
    """  # noqa: D301 - click's own mark
    if config is not None and no_config:
        raise click.UsageError("--config and --no-config exclude each other")
    if config is None and not no_config and CONFIG.is_file():
        config = CONFIG
    policies, others = _policies(config, scope)
    if said["route"] is None and config is not None and len(policies) == 1:
        said["route"] = next(iter(policies))
    if said["route"] is not None and others is None and said["route"] not in policies:
        raise click.BadParameter(f"no route {said['route']!r} in {config}", param_hint="'--route'")
    defaults = {name: value for name, value in said.items() if value not in (None, ())}
    if format_ is not None:
        defaults["format"] = format_
    if config is not None:
        click.echo(f"policies of {plain(config)}", err=True)
    settings = {"policies": policies, "others": others, "defaults": defaults}
    done = _Import(client, settings, _Progress(file))
    done.run(file)
    if as_json:
        click.echo(dumped({"imported": done.imported, "over": done.over, "wrong": done.wrong}))
    over = f", {count(done.over)} were over" if done.over else ""
    wrong = f", {count(len(done.wrong))} wrong" if done.wrong else ""
    click.echo(f"imported {count(done.imported)}{over}{wrong}", err=True)
    if done.wrong:
        sys.exit(1)


class _Progress:
    """How far it is, on standard error."""

    def __init__(self, file: IO[bytes]) -> None:
        self._whole = _size(file)
        self._over = sys.stderr.isatty()
        self._said = time.monotonic()
        self._open = False

    def tell(self, done: int, read: int) -> None:
        """`done` lines of `read` bytes."""
        now = time.monotonic()
        if not self._over and now - self._said < EVERY:
            return
        self._said = now
        share = f" ({min(100, 100 * read // self._whole)} %)" if self._whole else ""
        text = f"{count(done)} lines{share}"
        click.echo(f"\r{text}" if self._over else text, err=True, nl=not self._over)
        self._open = self._over

    def line(self, text: str) -> None:
        """Something else to be said."""
        self.end()
        click.echo(text, err=True)

    def end(self) -> None:
        """Go on in a new line."""
        if self._open:
            click.echo(err=True)
            self._open = False


def _size(file: IO[bytes]) -> int:
    """Bytes of a file; 0 for what has no end that is known."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


class _Import:
    """Lines on their way, in batches."""

    def __init__(self, client: Client, settings: Json, progress: _Progress) -> None:
        self._client = client
        self._settings = settings
        self._progress = progress
        self._title: bytes | None = None
        self.imported = 0
        self.over = 0
        self.wrong: list[Json] = []

    def run(self, file: IO[bytes]) -> None:
        """All of a file. Raises Failed."""
        batch: list[bytes] = []
        first, number, size, read = 1, 0, 0, 0
        for number, (line, length) in enumerate(_lines(file), 1):
            read += length
            if line is None:
                self._blame([{"line": number, "message": "is too long"}])
                line = b""  # noqa: PLW2901 - its place is kept
            batch.append(line)
            size += len(line)
            if len(batch) >= LINES or size >= BYTES:
                self._send(batch, first)
                batch, size, first = [], 0, number + 1
                self._progress.tell(number, read)
        if batch:
            self._send(batch, first)
        self._progress.tell(number, read)
        self._progress.end()

    def _send(self, batch: list[bytes], first: int) -> None:
        said = {"first": first, **self._settings}
        head = dumped({"import": said}).encode()
        if self._title is not None:
            # Behind the first field, as it stood in the file.
            head = head[:-2] + b', "title": ' + self._title + b"}}"
        titles = [line for line in batch if line.startswith(_TITLE)]
        body = b"\n".join([head, *batch])
        try:
            found = self._client.send(
                "/cache/entries", body, "application/x-ndjson", holds=["imported", "over", "wrong"]
            )
        except Failed as failure:
            self._progress.end()
            if first > 1:
                click.echo(
                    f"imported {count(self.imported)} up to line {first - 1}; the rest may be "
                    "imported again",
                    err=True,
                )
            raise failure from None
        self._title = titles[-1] if titles else self._title
        self.imported += found["imported"]
        self.over += found["over"]
        self._blame(found["wrong"])

    def _blame(self, wrong: list[Json]) -> None:
        for one in wrong:
            self.wrong.append(one)
            if len(self.wrong) <= SHOWN:
                self._progress.line(f"line {one['line']}: {plain(one['message'])}")
            elif len(self.wrong) == SHOWN + 1:
                self._progress.line("more lines are wrong, and not named")


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Lines without their ends, and bytes read; None for one that is too long."""
    start = True
    while line := file.readline(LONGEST):
        length = len(line)
        whole = line.endswith(b"\n") or length < LONGEST
        while not line.endswith(b"\n") and (line := file.readline(LONGEST)):
            length += len(line)
        if start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            start = False
        yield (line.rstrip(b"\r\n") if whole else None), length


def _policies(
    config: Path | None, scope: str | None
) -> tuple[Mapping[str, Json | None], Json | None]:
    """Policies by route, and that of other routes. Raises click.ClickException."""
    import msgspec  # noqa: PLC0415 - these take half a second

    from extproc.cache.rules import is_on, merged  # noqa: PLC0415
    from extproc.config import ConfigError, load  # noqa: PLC0415
    from extproc.config.cache import cache_field  # noqa: PLC0415
    from extproc.policy import CachePolicy  # noqa: PLC0415

    def said(policy: CachePolicy) -> Json:
        if scope is not None:
            policy = msgspec.structs.replace(policy, scope=scope, allow_scope=None)
        found: Json = msgspec.to_builtins(policy)
        return found

    if config is None:
        return {}, said(CachePolicy(mode="semantic"))
    try:
        gateway = load(config)
    except ConfigError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        raise Failed(f"{config} is no gateway.yaml to go by") from None
    except OSError as error:
        raise Failed(f"{config}: {error.strerror}") from None
    host = cache_field(gateway.cache)
    policies: dict[str, Json | None] = {}
    for route in gateway.routes:
        own = cache_field(route.cache)
        policy = merged(host, own)
        policies[route.name] = said(policy) if policy is not None and is_on(host, own) else None
    return policies, None
