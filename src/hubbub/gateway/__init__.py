"""Adapters in: HTTP routes, wire models, server-sent events, errors to statuses."""
