"""The demo: ./dev demo."""
