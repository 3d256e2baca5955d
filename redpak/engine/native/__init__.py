"""The engine that asks the kernel itself."""
