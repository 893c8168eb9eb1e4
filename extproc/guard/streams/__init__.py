"""Answers that stream by: placeholders become values again, and what the model says is reviewed.

However a stream is cut into pieces, the same goes out. Only what could be a placeholder, or part
of a finding, waits.
"""

from extproc.guard.streams.stream import Stream
from extproc.guard.streams.window import Review

__all__ = ["Review", "Stream"]
