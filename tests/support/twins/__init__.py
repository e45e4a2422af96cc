"""Servers that speak as engines do which no test machine can run, written after those engines' source."""
