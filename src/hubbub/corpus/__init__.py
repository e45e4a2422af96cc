"""Bulk text from a recipe: work items, judging, diversity, links, exports, and the runner that makes it durable."""
