"""What failed: each part of `./dev test` notes it in a file, and `./dev` tells it again when all have ended."""

from __future__ import annotations

import os

MOST = 300  # characters of one


def note(*failures: str) -> None:
    """Append failures to the file that REDPAK_TEST_FAILED names, a line each; without one there is nothing to do."""
    at = os.environ.get("REDPAK_TEST_FAILED")
    if at:
        with open(at, "a", encoding="utf-8", errors="backslashreplace") as file:
            for failure in failures:
                file.write(" ".join(failure.split())[:MOST] + "\n")
