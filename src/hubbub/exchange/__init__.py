"""Chats in and out: ChatGPT's export, notes of the Nexus importer for Obsidian, JSON, Markdown."""
