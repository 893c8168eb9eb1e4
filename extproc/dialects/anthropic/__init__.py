"""Anthropic's Messages API."""

from extproc.dialects.anthropic.dialect import Anthropic

__all__ = ["Anthropic"]
