"""Engines: they carry a plan out."""
