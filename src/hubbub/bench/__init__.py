"""Load generator: many chats at once through a public API, what they saw counted with bounded memory."""
