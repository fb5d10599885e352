"""What an examination finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is: `warn` works for now, `fail` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and when it is not well what to do, in both languages."""

    level: Level
    subject: str
    seen: str
    todo: str = ""
    todo_zh: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def as_text(self) -> str:
        """Return it as lines for a terminal."""
        lines = [f"{self.level.value:<5}{self.subject}: {self.seen}"]
        lines += [f"     → {todo}" for todo in (self.todo, self.todo_zh) if todo]
        return "\n".join(lines)


def ok(subject: str, seen: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.OK, subject, seen)


def warn(subject: str, seen: str, todo: str, todo_zh: str) -> Finding:
    """Return what works for now."""
    return Finding(Level.WARN, subject, seen, todo, todo_zh)


def fail(subject: str, seen: str, todo: str, todo_zh: str) -> Finding:
    """Return what does not work."""
    return Finding(Level.FAIL, subject, seen, todo, todo_zh)
