"""Room on the disk: what gives way when it runs short, and a reserve that is only given up when there is none.

First the diary, which may be lost; then the reserve, some megabytes that were taken while there was room, which last an
hour of the busiest day; then no more visitors are let in, and what is left is for how the last admissions end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_MIB = 1 << 20
RESERVE_NAME = "reserve"


class Room(IntEnum):
    """How much there is for the box's memory."""

    AMPLE = 0
    SHORT = 1
    """The diary is not kept any more."""
    RESERVE = 2
    """The reserve was given up, and is being used."""
    NONE = 3
    """Nothing new is begun."""


@dataclass(frozen=True, slots=True)
class Marks:
    """With less than `short_bytes` free the diary gives way; with less than `last_bytes` the reserve, then the rest.

    An hour of four lanes at forty visitors a minute takes some 14 MiB.
    """

    short_bytes: int = 256 * _MIB
    reserve_bytes: int = 32 * _MIB
    last_bytes: int = 8 * _MIB


def free_bytes(folder: Path) -> int:
    """Return how much may still be written to the file system of `folder`."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


class Space:
    """Watches the room in the folder of a box's memory; `look` must be called again and again."""

    def __init__(
        self, folder: Path, marks: Marks = Marks(), free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._folder = folder
        self._reserve = folder / RESERVE_NAME
        self._marks = marks
        self._free = free
        self.room = Room.AMPLE

    def look(self) -> Room:
        """Return how much room there is now; takes the reserve where there is plenty, gives it up for want of any."""
        free = self._free(self._folder)
        if not self._reserve.exists() and free >= self._marks.short_bytes + self._marks.reserve_bytes:
            self._take_reserve()
            free = self._free(self._folder)
        self.room = self._judged(free)
        if self.room is Room.RESERVE:
            self.make_room()
        return self.room

    def make_room(self) -> bool:
        """Give up the reserve, because something could not be written; False when there is none to give."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        self.room = max(self.room, Room.RESERVE)
        return True

    def has_room_for(self, size_bytes: int) -> bool:
        """Return whether a file of that size can be fetched with nothing having to give way."""
        return self._free(self._folder) >= size_bytes + self._marks.short_bytes

    @property
    def problem(self) -> str:
        """What people have to know and do about it; empty while there is room."""
        match self.room:
            case Room.AMPLE:
                return ""
            case Room.SHORT:
                return "the disk is nearly full: refusals are not kept any more; make room"
            case Room.RESERVE:
                return (
                    "the disk is full: the box works on its reserve, which lasts about an hour; make room now"
                )
            case Room.NONE:
                return "the disk is full and the reserve used up: visitors are referred to staff; make room"

    def _judged(self, free: int) -> Room:
        if self._reserve.exists():
            if free < self._marks.last_bytes:
                return Room.RESERVE
            return Room.SHORT if free < self._marks.short_bytes else Room.AMPLE
        return Room.NONE if free < self._marks.last_bytes else Room.RESERVE

    def _take_reserve(self) -> None:
        """Make the reserve of blocks that are really taken, whole or not at all."""
        part = self._reserve.with_suffix(".part")
        with contextlib.suppress(OSError):
            with part.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._marks.reserve_bytes)
            part.rename(self._reserve)
        part.unlink(missing_ok=True)
