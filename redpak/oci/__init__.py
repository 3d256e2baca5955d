"""Run containers as the OCI runtime specification asks."""
