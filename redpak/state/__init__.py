"""What runs: records of sandboxes, found processes, logs and events."""
