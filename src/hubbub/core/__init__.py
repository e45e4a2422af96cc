"""The pure heart: types, errors, the scheduler. Standard library only; no clock, no I/O, no asyncio, no randomness."""
