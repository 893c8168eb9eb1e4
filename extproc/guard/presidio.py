"""Presidio's recognizers beside the default detector, in this process and with what is installed.

Nothing is fetched: Presidio downloads a spaCy model that is not there, and two of its recognizers
(of mail addresses and of URLs) ask the network for the list of public suffixes; so the model is
loaded here, if there is one, and those two are left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Event
from typing import Final, Protocol

from extproc.guard import Finding, GuardError, Scan, Text
from extproc.guard.default import DetectorPolicy
from extproc.guard.local import LocalScanner
from extproc.guard.together import ALIASES, Both, encodable

LANGUAGE: Final = "en"
"""Presidio knows its patterns' context words in it."""
PIECE: Final = 4_000
"""Characters that are analyzed at once: less than a fifth of a second. It is between two pieces
that a request that has gone away is noticed, and spaCy refuses more than a million."""
_LEFT_OUT: Final = frozenset({"EMAIL_ADDRESS", "URL"})
"""What only those recognizers find that go to the network; the default detector knows the first."""
_UNUSED: Final = ("parser", "senter")
"""Parts of a model that nothing here asks."""
_SIZES: Final = ("trf", "lg", "md", "sm")
_TRIAL: Final = "My name is Ann and my telephone number is 212-555-0143."


class Result(Protocol):
    """A finding of Presidio's."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyzer(Protocol):
    """The part of Presidio's `AnalyzerEngine` that is used."""

    def analyze(self, text: str, language: str, *, context: list[str] | None) -> Sequence[Result]:
        """What a text holds; some may lie over others."""
        ...


class MissingError(ValueError):
    """Presidio is not installed; the text says how it is."""


def installed() -> None:
    """Raises MissingError unless Presidio is."""
    if find_spec("presidio_analyzer") is None:
        raise MissingError(
            "--guard presidio needs Presidio: pip install 'tollgate[presidio]', and a spaCy model "
            "such as en_core_web_lg for names"
        )


def analyzer() -> Analyzer:
    """Presidio's engine on the best spaCy model that is installed, or on none: then there are its
    patterns alone. Takes seconds. Raises MissingError."""
    installed()
    import spacy  # noqa: PLC0415 - the extra's, and half a second
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415 - as above
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # noqa: PLC0415 - as above

    name = best(spacy.util.get_installed_models())
    language = spacy.blank(LANGUAGE) if name is None else spacy.load(name, exclude=_UNUSED)
    engine = SpacyNlpEngine(models=[{"lang_code": LANGUAGE, "model_name": name or "blank"}])
    # Loaded: it will not look for it, and not fetch it.
    engine.nlp = {LANGUAGE: language}  # type: ignore[assignment]  # typed as what it is at first
    registry = RecognizerRegistry(supported_languages=[LANGUAGE])
    registry.load_predefined_recognizers(languages=[LANGUAGE], nlp_engine=engine)
    registry.recognizers = [
        one
        for one in registry.recognizers
        if not _LEFT_OUT.intersection(one.supported_entities)
        and (name is not None or getattr(one, "name", "") != "SpacyRecognizer")
    ]
    made: Analyzer = AnalyzerEngine(
        registry=registry, nlp_engine=engine, supported_languages=[LANGUAGE]
    )
    made.analyze(_TRIAL, LANGUAGE, context=None)  # what is wrong shows now
    return made


def best(models: Sequence[str]) -> str | None:
    """The model for names among those installed: English before others, large before small; None
    if there is none."""

    def rank(name: str) -> tuple[bool, int, str]:
        sizes = [at for at, size in enumerate(_SIZES) if f"_{size}" in name]
        return not name.startswith(LANGUAGE), min(sizes, default=len(_SIZES)), name

    return min(models, key=rank, default=None)


class PresidioScanner:
    """Looks with both. Presidio takes some ten milliseconds a kB and one body at a time."""

    def __init__(self, engine: Analyzer, *, timeout: float = 2.0) -> None:
        """`timeout`: seconds that Presidio has for a body, the time it waits for others included;
        then the detector counts as away."""
        self._engine = engine
        self._timeout = timeout
        self._local = LocalScanner()
        # One thread: spaCy's models do not promise to serve several.
        self._pool = ThreadPoolExecutor(1, "guard-presidio")

    def scan(self, policy: DetectorPolicy) -> Scan:
        """Made once for each route's policy. Raises PatternError."""
        local = self._local
        return local.remembering(Both(local.looking(policy), self.analyzed, policy, local.threads))

    async def analyzed(self, texts: Sequence[Text]) -> list[list[Finding]]:
        """All that Presidio finds. Raises GuardError."""
        gone = Event()
        deadline = time.monotonic() + self._timeout
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(self._pool, self._analyze, texts, deadline, gone)
        except RuntimeError:
            raise GuardError("the detector is closed") from None
        try:
            return await asyncio.wait_for(work, self._timeout)
        except TimeoutError:
            raise GuardError(f"Presidio took more than {self._timeout:g} s") from None
        finally:
            gone.set()

    def _analyze(self, texts: Sequence[Text], deadline: float, gone: Event) -> list[list[Finding]]:
        found = []
        for text in texts:
            context = text.under.replace("_", " ").split() or None
            value = encodable(text.value)
            one: list[Finding] = []
            for start, end in pieces(value):
                if gone.is_set() or time.monotonic() > deadline:
                    raise TimeoutError
                try:
                    results = self._engine.analyze(value[start:end], LANGUAGE, context=context)
                except Exception as error:  # noqa: BLE001 - whatever is raised there may hold a value
                    raise GuardError(f"Presidio: {type(error).__name__}") from None
                one += (_finding(each, start) for each in results if each.end > each.start)
            found.append(one)
        return found

    async def ping(self) -> None:
        """What is in this process cannot be away."""

    async def close(self) -> None:
        """Give threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self._local.close()


def _finding(one: Result, start: int) -> Finding:
    kind = ALIASES.get(one.entity_type, one.entity_type)
    return Finding(one.start + start, one.end + start, kind, min(1.0, max(0.0, one.score)))


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """A text in parts of at most `PIECE` characters that end where a line, a sentence or a word
    does, if one does in their second half."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > PIECE:
            middle, last = start + PIECE // 2, start + PIECE
            ends = (text.rfind(mark, middle, last) + len(mark) for mark in ("\n", ". ", " "))
            end = next((one for one in ends if one > middle), last)
        yield start, end
        start = end
