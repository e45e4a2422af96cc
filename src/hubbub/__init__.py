"""Hubbub: one local model, hundreds of durable chats, gigabytes of text."""

__version__ = "0.1.0"
