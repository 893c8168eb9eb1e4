"""Metrics, health, and what a person asks a running gateway, over HTTP.

The door: `http.serve`, with `capabilities.Admin`."""
