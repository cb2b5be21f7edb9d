"""A tiny world whose truth is known: the demo and the end-to-end test live on it."""
