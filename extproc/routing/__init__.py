"""Which levels a request may take. The door: `Routes.of` gives one route's `Route`."""

from __future__ import annotations

from extproc.routing.names import OWN
from extproc.routing.route import Demand, Plan, Route, Routes

__all__ = ["OWN", "Demand", "Plan", "Route", "Routes"]
