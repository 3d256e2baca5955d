from __future__ import annotations

import pytest

from redpak.errors import Usage
from redpak.oci.events import seconds


@pytest.mark.parametrize(
    ("text", "span"), [("5s", 5), ("250ms", 0.25), ("1m30s", 90), ("2h", 7200), ("0.5s", 0.5), ("3", 3)]
)
def test_a_span_of_time_is_read_as_go_writes_it(text: str, span: float) -> None:
    assert seconds(text) == pytest.approx(span)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "0s", "5 s", "1s5", "1.2.3s"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        seconds(text)
