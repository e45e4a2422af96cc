"""Adapters out: everything that generates text, behind the Engine port."""
