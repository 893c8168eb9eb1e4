"""Amazon Bedrock's Converse API."""

from extproc.dialects.bedrock.dialect import Bedrock

__all__ = ["Bedrock"]
