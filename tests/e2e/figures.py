"""The service's own figures, read as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.conftest import Running

BILLED = (
    "gen_ai_client_token_usage_sum",
    "gen_ai_client_token_usage_count",
    "tollgate_tokens_total",
    "tollgate_cost_nanodollars_total",
    "tollgate_cost_unknown_total",
    "tollgate_attempts_total",
)
"""What moves when a provider is asked."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All samples of one scrape."""

    samples: tuple[Sample, ...]

    def sum(self, name: str, **labels: str) -> int | float:
        """The sum over all series of `name` that have these labels."""
        found = sum(
            one.value
            for one in self.samples
            if one.name == name and labels.items() <= one.labels.items()
        )
        return int(found) if found == int(found) else found


def billed(gateway: Running) -> list[str]:
    """What has been asked of providers, used and billed so far."""
    return [
        line
        for line in gateway.metrics().splitlines()
        if line.startswith(BILLED) and not line.endswith(" 0.0")
    ]


def figures(gateway: Running) -> Figures:
    """A scrape."""
    families = text_string_to_metric_families(gateway.metrics())
    return Figures(tuple(sample for family in families for sample in family.samples))
