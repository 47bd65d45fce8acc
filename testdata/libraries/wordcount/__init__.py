"""Counts words."""

from .count import count
