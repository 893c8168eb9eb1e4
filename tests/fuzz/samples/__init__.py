"""Inputs to start from, written by hand after the providers' documentation."""

from tests.fuzz.samples.clients import CLIENTS
from tests.fuzz.samples.parsers import PARSERS
from tests.fuzz.samples.providers import PROVIDERS

__all__ = ["CLIENTS", "PARSERS", "PROVIDERS"]
