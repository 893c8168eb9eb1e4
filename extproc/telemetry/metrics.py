"""Counts what happens and shows it in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider, export
from opentelemetry.sdk.resources import Resource
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from extproc import __version__
from extproc.records import RequestRecord, Usage
from extproc.telemetry import names
from extproc.telemetry.cache import CacheFigures
from extproc.telemetry.guard import GuardFigures
from extproc.telemetry.limits import LimitFigures, observable
from extproc.telemetry.series import Bounded, Counter, Family, Histogram

CAP: Final = 1000
"""Values of one label that are told apart."""
MODEL_CAP: Final = 200
"""The same for models, of which a request brings two, in every histogram."""
TYPE_CAP: Final = 100
"""The same for types of what the guard finds: some forty are known, a configuration adds its own,
and an endpoint that looks for them may call them anything."""
_BUNDLES: Final = 4096
"""Combinations whose series are kept at hand."""
_FIRST_ERROR: Final = 400
_BILLED: Final = {"count_tokens": (), "embeddings": ("input",)}
"""Types of tokens that a provider bills for an operation; of every other one both."""
_FREE: Final = frozenset(operation for operation, billed in _BILLED.items() if not billed)
_BOTH: Final = ("input", "output")
_LAG_WINDOW: Final = 15.0
"""Seconds; a scrape a minute apart may miss a peak, one every 15 or 30 seconds does not."""
_SCOPE: Final = "tollgate"


class _Reader(PrometheusMetricReader):
    """The Prometheus exporter, with our own series beside those of the SDK's instruments."""

    def __init__(self, families: Iterable[Family[Any]], registry: CollectorRegistry) -> None:
        super().__init__(scope_info_enabled=False, registry=registry)
        self._families = tuple(families)
        self._start = time.time_ns()

    def _receive_metrics(
        self, metrics_data: export.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        now = time.time_ns()
        ours = [one.metric(self._start, now) for one in self._families if len(one)]
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                if scope.scope.name == _SCOPE:
                    whole = [*scope.metrics, *ours]
                    metrics_data = export.MetricsData(
                        [
                            export.ResourceMetrics(
                                resource.resource,
                                [export.ScopeMetrics(scope.scope, whole, scope.schema_url)],
                                resource.schema_url,
                            )
                        ]
                    )
        super()._receive_metrics(metrics_data, timeout_millis, **kwargs)


class _Bundle:
    """The series that one kind of request goes to, found once."""

    __slots__ = (
        "aborted",
        "cost",
        "durations",
        "no_price",
        "no_usage",
        "per_token",
        "requests",
        "tokens",
        "ttft",
        "usage",
    )

    requests: Counter
    aborted: Counter
    tokens: tuple[Counter, ...] | None
    """None while such requests used none: the features of refused ones take no series."""
    cost: Counter | None
    """None while the cost of such requests is unknown: a series that stands at 0 would say that
    they cost nothing."""
    no_price: Counter
    no_usage: Counter
    usage: tuple[Histogram, ...] | None
    durations: tuple[Histogram, Histogram] | None
    ttft: Histogram | None
    per_token: Histogram | None


class Telemetry:
    """All metrics of one worker. To be used from one thread; nothing here raises or waits.

    `allow` names values that are always told apart, by attribute (`names.FEATURE`,
    `names.REQUEST_MODEL`, …); other values are while there are fewer than the cap.
    """

    def __init__(
        self,
        allow: Mapping[str, Collection[str]] | None = None,
        *,
        cap: int = CAP,
        model_cap: int = MODEL_CAP,
    ) -> None:
        allowed = allow or {}
        caps = {
            names.REQUEST_MODEL: model_cap,
            names.RESPONSE_MODEL: model_cap,
            names.TYPE: min(cap, TYPE_CAP),
        }
        self._label = {
            name: Bounded(
                caps.get(name, cap),
                allowed.get(name, ()),
            )
            for metric in names.ALL
            for name in metric.attributes
        }
        self._in_flight = 0
        self._peak = _Peak()
        self._bundles: dict[tuple[object, ...], _Bundle] = {}
        self._counters = {
            metric.name: Family(metric, Counter)
            for metric in names.ALL
            if metric.kind is names.Kind.COUNTER and metric not in names.OBSERVED
        }
        self._histograms = {
            metric.name: Family(metric, Histogram)
            for metric in names.ALL
            if metric.kind is names.Kind.HISTOGRAM
        }
        for always in (
            names.DROPPED,
            names.NOTES_LOST,
            names.UNRECORDED,
        ):  # so that their rise from zero is seen
            self._counter(always).add(0)
        self._registry = CollectorRegistry()
        reader = _Reader([*self._histograms.values(), *self._counters.values()], self._registry)
        provider = MeterProvider(
            metric_readers=[reader],
            resource=Resource.create({"service.name": "tollgate", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        meter = provider.get_meter(_SCOPE)
        meter.create_observable_up_down_counter(
            names.IN_FLIGHT.name,
            [self._observe_in_flight],
            unit=names.IN_FLIGHT.unit,
            description=names.IN_FLIGHT.description,
        )
        meter.create_observable_gauge(
            names.LOOP_LAG.name,
            [self._observe_lag],
            unit=names.LOOP_LAG.unit,
            description=names.LOOP_LAG.description,
        )
        self._provider = provider
        self._meter = meter
        self.limits = LimitFigures(self._counter, self._histogram, self._label, meter)
        """What limits and the queue do."""
        self.guard = GuardFigures(self._counter, self._histogram)
        """What the guard finds and does."""
        self.cache = CacheFigures(self._counter, self._histogram, meter)
        """What the cache serves, learns and holds."""

    def watch_ledger(self, figures: Callable[[], Mapping[str, float]]) -> None:
        """Show what the ledger tells of itself, by the names of `names.LEDGER`."""
        for name, metric in names.LEDGER.items():

            def observe(_: CallbackOptions, name: str = name) -> Iterable[Observation]:
                return (Observation(figures()[name]),)

            observable(self._meter, metric, observe)

    def record(self, record: RequestRecord) -> None:
        """Count a finished request: durations, tokens, cost. Refusals, attempts and walks are
        told as they happen and not counted from the record. Of a shadow tokens and cost count."""
        try:
            (self._record if record.kind == "request" else self._paid)(record)
        except Exception:  # noqa: BLE001 - a request is never lost for a figure
            self.dropped()

    def refusal(self, target: str, reason: str) -> None:
        """A level was not used."""
        self._counter(names.REFUSALS, target, reason).add(1)

    def attempt(self, target: str, outcome: str) -> None:
        """A level was tried: `ok`, or the reason why not."""
        self._counter(names.ATTEMPTS, target, outcome).add(1)

    def walked(self, route: str) -> None:
        """A request needed more than the first level of its chain."""
        self._counter(names.WALKED, route).add(1)

    def ignored(self, what: str) -> None:
        """Something was not understood and passed over."""
        self._counter(names.IGNORED, what).add(1)

    def identified(self, identity: str, outcome: str) -> None:
        """Somebody asked: what proved who, and `ok` or the code of the refusal."""
        self._counter(names.IDENTITIES, identity, outcome).add(1)

    def not_allowed(self, field: str) -> None:
        """A request said something of itself that its caller may not say."""
        self._counter(names.NOT_ALLOWED, field).add(1)

    def unrecorded(self) -> None:
        """A request could not be written into the ledger."""
        self._counter(names.UNRECORDED).add(1)

    def dropped(self) -> None:
        """A record could not be counted."""
        self._counter(names.DROPPED).add(1)

    def note_lost(self) -> None:
        """What one filter had to tell another could not be stored or read."""
        self._counter(names.NOTES_LOST).add(1)

    def started(self) -> None:
        """A request has come; `finished` says that it is over."""
        self._in_flight += 1

    def finished(self) -> None:
        """A request is over, however it ended."""
        self._in_flight -= 1

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not finished."""
        return self._in_flight

    def lag(self, seconds: float) -> None:
        """The event loop ran something that many seconds late."""
        self._peak.note(seconds, time.monotonic())

    def expose(self) -> tuple[bytes, str]:
        """Everything in Prometheus' text format, and its content type. May be called from another
        thread: a few milliseconds for hundreds of series, a few hundred for tens of thousands."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _record(self, record: RequestRecord) -> None:
        usage, cost = record.usage, record.cost
        estimated = usage is not None and usage.estimated
        key = (
            record.operation,
            record.provider,
            record.request_model,
            record.response_model,
            record.error_type,
            record.status,
            record.route,
            record.target,
            record.attribution.feature,
            estimated,
        )
        bundle = self._bundles.get(key)
        if bundle is None:
            bundle = self._bundle(key, record, estimated=estimated)
        bundle.requests.value += 1
        if record.aborted:
            bundle.aborted.value += 1
        if usage is not None:
            self._used(bundle, record)
        if cost is not None:
            if bundle.cost is None:
                whose = record.route, record.target, record.attribution.feature
                bundle.cost = self._counter(names.COST, *whose)
            bundle.cost.value += cost.total
        elif (
            record.target is not None
            and record.status < _FIRST_ERROR
            and record.operation not in _FREE
        ):
            (bundle.no_usage if usage is None else bundle.no_price).value += 1
        if bundle.durations is not None:
            duration = max(0.0, record.duration)
            for histogram in bundle.durations:
                histogram.add(duration)
            if record.ttft is not None and bundle.ttft is not None:
                bundle.ttft.add(max(0.0, record.ttft))

    def _paid(self, record: RequestRecord) -> None:
        """A shadow: tokens and cost as of a request, and no request."""
        usage, cost = record.usage, record.cost
        whose = record.route, record.target, record.attribution.feature
        if cost is not None:
            self._counter(names.COST, *whose).add(cost.total)
        else:
            reason = "usage" if usage is None else "price"
            self._counter(names.COST_UNKNOWN, record.route, record.target, reason).add(1)
        bundle = _Bundle()
        bundle.tokens = bundle.usage = bundle.per_token = None
        if usage is not None and record.provider is not None and not usage.estimated:
            bundle.usage = self._billed(record, self._model(record, served=True))
        self._used(bundle, record)

    def _used(self, bundle: _Bundle, record: RequestRecord) -> None:
        usage = record.usage
        if usage is None:
            return
        if bundle.tokens is None:
            bundle.tokens = self._tokens(record, estimated=usage.estimated)
        into, out, cached, written, reasoning = bundle.tokens
        into.value += usage.input
        out.value += usage.output
        cached.value += usage.cached_input
        written.value += usage.cache_write
        reasoning.value += usage.reasoning
        self._rare(record, usage)
        if bundle.usage is not None:
            for histogram, tokens in zip(bundle.usage, (usage.input, usage.output), strict=False):
                histogram.add(tokens)
            if record.ttft is not None and usage.output > 1 and bundle.per_token is not None:
                rest = max(0.0, record.duration - record.ttft)
                bundle.per_token.add(rest / (usage.output - 1))

    def _rare(self, record: RequestRecord, usage: Usage) -> None:
        """Kinds of tokens that few requests have: they take a series only where there are any."""
        if not (usage.cache_write_1h or usage.audio_input or usage.audio_output):
            return
        whose = record.route, record.target, record.attribution.feature
        guess = "true" if usage.estimated else "false"
        for kind in ("cache_write_1h", "audio_input", "audio_output"):
            if tokens := getattr(usage, kind):
                self._counter(names.TOKENS, *whose, kind, guess).add(tokens)

    def _bundle(
        self, key: tuple[object, ...], record: RequestRecord, *, estimated: bool
    ) -> _Bundle:
        served = record.target is not None and record.status < _FIRST_ERROR
        label = self._label
        route = label[names.ROUTE](record.route)
        target = label[names.TARGET](record.target, served=served)
        bundle = _Bundle()
        bundle.requests = self._counter(names.REQUESTS, route, target, str(record.status))
        bundle.aborted = self._counter(names.ABORTED, route, target)
        bundle.tokens = None
        bundle.cost = None
        bundle.no_price = self._counter(names.COST_UNKNOWN, route, target, "price")
        bundle.no_usage = self._counter(names.COST_UNKNOWN, route, target, "usage")
        bundle.usage = bundle.durations = bundle.ttft = bundle.per_token = None
        if record.provider is not None:
            self._conventional(bundle, record, estimated=estimated, served=served)
        if len(self._bundles) >= _BUNDLES:
            self._bundles.clear()
        self._bundles[key] = bundle
        return bundle

    def _tokens(self, record: RequestRecord, *, estimated: bool) -> tuple[Counter, ...]:
        whose = record.route, record.target, record.attribution.feature
        guess = "true" if estimated else "false"
        kinds = ("input", "output", "cached_input", "cache_write", "reasoning")
        return tuple(self._counter(names.TOKENS, *whose, kind, guess) for kind in kinds)

    def _conventional(
        self, bundle: _Bundle, record: RequestRecord, *, estimated: bool, served: bool
    ) -> None:
        """The metrics of the convention, which need a provider. Tokens only as billed."""
        label = self._label
        model = self._model(record, served=served)
        error = record.error_type
        if error is None and record.status >= _FIRST_ERROR:
            error = str(record.status)
        error = label[names.ERROR_TYPE](error)
        of = self._histogram
        bundle.durations = (
            of(names.OPERATION_DURATION, *model, error),
            of(names.REQUEST_DURATION, *model, error),
        )
        if not estimated:
            bundle.usage = self._billed(record, model)
        if error is None:
            bundle.ttft = of(names.TIME_TO_FIRST_TOKEN, *model)
            bundle.per_token = of(names.TIME_PER_OUTPUT_TOKEN, *model)

    def _model(self, record: RequestRecord, *, served: bool) -> tuple[str | None, ...]:
        label = self._label
        return (
            label[names.OPERATION](record.operation),
            label[names.PROVIDER](record.provider),
            label[names.REQUEST_MODEL](record.request_model, served=served),
            label[names.RESPONSE_MODEL](record.response_model, served=served),
        )

    def _billed(
        self, record: RequestRecord, model: tuple[str | None, ...]
    ) -> tuple[Histogram, ...]:
        kinds = _BILLED.get(record.operation, _BOTH)
        return tuple(self._histogram(names.TOKEN_USAGE, *model, kind) for kind in kinds)

    def _counter(self, metric: names.Metric, *values: str | None) -> Counter:
        label = self._label
        bounded = (
            label[name](value) for name, value in zip(metric.attributes, values, strict=True)
        )
        return self._counters[metric.name].of(*bounded)

    def _histogram(self, metric: names.Metric, *values: str | None) -> Histogram:
        return self._histograms[metric.name].of(*values)

    def _observe_in_flight(self, _: CallbackOptions) -> Iterable[Observation]:
        return (Observation(self._in_flight),)

    def _observe_lag(self, _: CallbackOptions) -> Iterable[Observation]:
        return (Observation(self._peak.read(time.monotonic())),)


class _Peak:
    """The largest value of this window and the one before it."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self) -> None:
        self._before = 0.0
        self._now = 0.0
        self._since = float("-inf")

    def note(self, value: float, now: float) -> None:
        self._turn(now)
        self._now = max(self._now, value)

    def read(self, now: float) -> float:
        self._turn(now)
        return max(self._before, self._now)

    def _turn(self, now: float) -> None:
        if now - self._since >= _LAG_WINDOW:
            late = now - self._since >= 2 * _LAG_WINDOW
            self._before = 0.0 if late else self._now
            self._now = 0.0
            self._since = now
