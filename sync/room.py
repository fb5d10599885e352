"""What is done with a message that there is no room to keep: it is said, and asked for or taken again later."""

from __future__ import annotations

NO_ROOM = "there is no room to keep what is said to this box; make room on its disk"
RETRY_S = 5.0
"""So long until it is tried again."""
