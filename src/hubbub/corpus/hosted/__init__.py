"""Corpus runs that live in the server: the runner of the command line, asking by way of the gateway."""
