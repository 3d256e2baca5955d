"""Nodes: directories that carry a part of a system, composed along their path."""
