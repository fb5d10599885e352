"""Every answer of the gate as a page: what the visitor reads and hears, what staff are told, and who may override."""

from __future__ import annotations

from collections.abc import Iterator

from admission.reasons import Reason

HEAD = """\
# Reasons 原因

Made by `gate-agent reasons` from `admission/reasons.py`; a test keeps the two in step. The display shows the visitor
what to do next and never anything about a person; staff see why. *Mends* says whether visitors can mend it themselves
(another code, another lane, another time). *Override* is the least role that may let them in all the same, on record.
"""
COLUMNS = ("reason", "verdict", "lamp", "voice", "屏幕", "display", "工作人员", "staff", "mends", "override")


def reasons_page() -> str:
    """Return the page as Markdown."""
    return "\n".join((HEAD, *_table())) + "\n"


def _table() -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for reason in Reason:
        words = reason.wording
        cells = (
            f"`{reason}`",
            words.verdict,
            reason.lamp,
            f"`{reason.voice}`",
            words.zh,
            words.en,
            words.staff_zh,
            words.staff_en,
            "yes" if reason.is_mendable else "",
            words.override.word if words.override else "",
        )
        yield f"| {' | '.join(cells)} |"
