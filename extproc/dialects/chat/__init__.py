"""OpenAI chat completions: the form that every other one is turned into, and out of.

`request` and `messages` are what a client says, `completion` what is answered.
"""

from extproc.dialects.chat.request import FIELDS, ChatRequest, decode, parse

__all__ = ["FIELDS", "ChatRequest", "decode", "parse"]
