"""Stands in for vLLM, which the tests cannot install: Datatrove wants a package of this name."""

__version__ = "0.0.0"
