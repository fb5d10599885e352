"""What a reader hands to a lane."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from admission.scan import Scan


def test_a_scan_is_what_it_was_when_it_was_taken() -> None:
    """The same bytes, reader and moment are the same scan, and nobody changes it on its way."""
    scan = Scan(b"SG1:", "camera 1", 7)
    assert scan == Scan(b"SG1:", "camera 1", 7) != Scan(b"SG1:", "camera 1", 8)
    with pytest.raises(FrozenInstanceError):
        scan.payload = b"other"  # type: ignore[misc]
