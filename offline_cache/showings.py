"""What the box last saw of each holder's phone: a time is accepted once, whichever lane it is shown at."""

from __future__ import annotations

import sqlite3

from admission.codes import Credential, CreditCode, Rejected, TicketCode
from admission.facts import Attempt
from admission.holders import Showing, ShownBefore
from offline_cache.journal import get_state

KEPT_MS = 3600 * 1000
"""Longer than any phone's clock may be off: what was shown before that is refused by its time alone."""


def shown_before(sql: sqlite3.Connection, attempt: Attempt) -> ShownBefore | None:
    """Return what the holder showed before, None for a code that is bound to nobody's phone."""
    showing = _showing(attempt.credential)
    if showing is None:
        return None
    row = sql.execute(
        "SELECT shown_s, epoch, monotonic_ms FROM showings WHERE holder_key = ?", (showing.holder_key,)
    ).fetchone()
    if row is None:
        return None
    shown_s, epoch, monotonic_ms = row
    is_of_this_process = epoch == _epoch(sql)
    return ShownBefore(shown_s, attempt.monotonic_ms - monotonic_ms if is_of_this_process else None)


def note_showing(sql: sqlite3.Connection, attempt: Attempt) -> None:
    """Remember what a holder has shown, within the caller's transaction; an older time changes nothing."""
    showing = _showing(attempt.credential)
    if showing is None or showing.shown_s is None:
        return
    sql.execute(
        "INSERT INTO showings VALUES (?, ?, ?, ?, ?) ON CONFLICT (holder_key) DO UPDATE SET"
        " shown_s = excluded.shown_s, epoch = excluded.epoch, monotonic_ms = excluded.monotonic_ms,"
        " at_ms = excluded.at_ms WHERE excluded.shown_s > shown_s",
        (showing.holder_key, showing.shown_s, _epoch(sql), attempt.monotonic_ms, attempt.at_ms),
    )


def forget_showings(sql: sqlite3.Connection, now_ms: int, at_once: int) -> int:
    """Forget what no longer tells a picture from a phone; return how many rows."""
    return sql.execute(
        "DELETE FROM showings WHERE holder_key IN"
        " (SELECT holder_key FROM showings WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
        (now_ms - KEPT_MS, at_once),
    ).rowcount


def _epoch(sql: sqlite3.Connection) -> object:
    return get_state(sql, "epoch") or b""


def _showing(credential: Credential | Rejected) -> Showing | None:
    return credential.showing if isinstance(credential, TicketCode | CreditCode) else None
