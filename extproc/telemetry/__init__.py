"""What an operator sees: metrics and logs.

The door: `Telemetry.record` for every finished request, the smaller calls beside it for what
happens on the way, `expose` for `/metrics`; `merge` for several workers; `configure` for logs.
"""

from extproc.telemetry.logs import JSONFormatter, configure, redact
from extproc.telemetry.merge import merge
from extproc.telemetry.metrics import Telemetry

__all__ = ["JSONFormatter", "Telemetry", "configure", "merge", "redact"]
