"""The only asyncio driver of the core: requests in, live streams out, everything that must last into the store."""
