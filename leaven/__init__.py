"""Leaven: exact pretraining mixes, and where every token of them came from."""

__version__ = "0.1.0"
