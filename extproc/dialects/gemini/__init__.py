"""Gemini's generateContent, at Google's AI endpoint and at Vertex AI."""

from extproc.dialects.gemini.dialect import Gemini
from extproc.dialects.gemini.vertex import Vertex

__all__ = ["Gemini", "Vertex"]
