"""Cohere's chat API, version 2."""

from extproc.dialects.cohere.dialect import Cohere

__all__ = ["Cohere"]
