"""What the witness has written, read as it grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class WitnessLog:
    """Follows the witness's log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> list[dict[str, Any]]:
        """Return the facts written since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            *lines, rest = log.read().split(b"\n")
            self._read = log.tell() - len(rest)
        return [json.loads(line) for line in lines]
