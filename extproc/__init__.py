"""Tollgate: an LLM gateway beside Envoy."""

__version__ = "0.1.0"
