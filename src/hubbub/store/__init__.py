"""Adapters down: where chats, items, answers and the journal are kept."""
