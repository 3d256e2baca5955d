"""redpak: white-box containers composed from what is already there."""

__version__ = "0.1.0"
