"""Envoy's filters as they see one request: events in, actions out."""
