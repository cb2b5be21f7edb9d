"""Segments through a model: cutting, prompts, teachers, verification."""
