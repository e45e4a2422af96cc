"""Corpora: gigabytes of text from templates, each record exactly once."""
