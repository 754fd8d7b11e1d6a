"""Radiance fields that are inferred, not optimised."""

__version__ = "0.1.0"
