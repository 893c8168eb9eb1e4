"""OpenAI, the servers that speak its format, and Azure's deployments of its models."""

from extproc.dialects.openai.azure import Azure
from extproc.dialects.openai.dialect import OpenAI

__all__ = ["Azure", "OpenAI"]
