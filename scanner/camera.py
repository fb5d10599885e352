"""A camera that lives for years: a thread that keeps only the newest frame and reopens what was lost."""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from secrets import SystemRandom

from scanner.capture import Grabber, Image, open_grabber, prepare_opencv
from scanner.settings import CameraSettings
from scanner.sight import Sight
from scanner.trouble import Trouble

__all__ = ["Camera", "CameraHealth", "CameraSettings", "CameraState", "Frame", "reopen_delay_s"]

_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 5.0
_FPS_WINDOW_FRAMES = 30
_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000
_draw = SystemRandom().random


class CameraState(enum.Enum):
    """Whether frames come."""

    STARTING = "starting"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture (height x width x 3, BGR; not to be written to), its number and when it was in hand.

    Numbers count from 1 and go on when the camera is reopened; `captured_ns` is monotonic time.
    """

    image: Image
    number: int
    captured_ns: int


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """How a camera does: `age_ms` of its newest frame, times it came back, and what is wrong.

    A live camera can be in trouble too: frames come, and show nothing. `refused` says in words what a device
    did not take of its settings.
    """

    state: CameraState
    frames: int
    fps: float
    age_ms: int | None
    reopened: int
    trouble: Trouble | None
    refused: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        return self.trouble.wording.problem if self.trouble else ""


def reopen_delay_s(failures: int, draw: float) -> float:
    """How long to wait after that many failures in a row (from 0); `draw` is uniform in [0, 1).

    Doubles up to 5 s, so that a camera that starts slowly is not knocked at all the time; half of it is chance,
    so that the cameras of a site do not all knock at once when their switch comes back.
    """
    longest = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * float(2 ** min(failures, 16)))
    return longest * (0.5 + 0.5 * draw)


class Camera:
    """Captures on a thread of its own between `start` and `stop`. A camera that is absent or lost is a state.

    `draw` gives the chance in the reopening delays. An unexpected failure of the thread is raised to whoever
    waits for frames, and by `stop`.
    """

    def __init__(self, settings: CameraSettings, draw: Callable[[], float] = _draw) -> None:
        self._settings = settings
        self._draw = draw
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._capturing: Future[None] | None = None
        self._newest: Frame | None = None
        self._state = CameraState.STARTING
        self._trouble: Trouble | None = None
        self._refused: tuple[str, ...] = ()
        self._sight = Sight(settings.frozen_after_ms)
        self._reopened = 0
        self._recent_ns: deque[int] = deque(maxlen=_FPS_WINDOW_FRAMES)

    def start(self) -> None:
        """Begins to capture; returns at once, whether the camera is there or not."""
        prepare_opencv()
        self._stopping.clear()
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="camera")
        self._capturing = executor.submit(self._capture)
        executor.shutdown(wait=False)

    def stop(self) -> None:
        """Ends the capture; returns when its thread has ended, at the latest after the longer timeout."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._capturing is not None:
            self._capturing.result()
        self._lose(Trouble.STOPPED)

    def wait_newer(self, number: int, timeout_s: float) -> Frame | None:
        """The newest frame if it is newer than `number`, else the next; None after the timeout or a stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or self._has_newer(number), timeout_s)
            frame = self._newest if self._has_newer(number) else None
        if frame is None and self._capturing is not None and self._capturing.done():
            self._capturing.result()
        return frame

    def health(self) -> CameraHealth:
        """How it does at this moment."""
        now_ns = time.monotonic_ns()
        with self._changed:
            newest = self._newest
            return CameraHealth(
                state=self._state,
                frames=newest.number if newest else 0,
                fps=self._fps(now_ns),
                age_ms=(now_ns - newest.captured_ns) // _NS_PER_MS if newest else None,
                reopened=self._reopened,
                trouble=self._trouble,
                refused=self._refused,
            )

    def _has_newer(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    def _fps(self, now_ns: int) -> float:
        if self._state is not CameraState.LIVE or len(self._recent_ns) < 2:
            return 0.0
        return round((len(self._recent_ns) - 1) * _NS_PER_S / (now_ns - self._recent_ns[0]), 1)

    def _capture(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            grabber = open_grabber(self._settings)
            if grabber is None:
                played = False
                self._lose(Trouble.CANNOT_OPEN)
            else:
                with closing(grabber):
                    played = self._play(grabber)
                if played and grabber.recorded:
                    self._lose(Trouble.ENDED)
                    return
                self._lose(Trouble.NO_FRAMES)
            failures = 0 if played else failures + 1
            self._stopping.wait(reopen_delay_s(failures, self._draw()))

    def _play(self, grabber: Grabber) -> bool:
        """Publishes frames until no more come, or the picture froze; whether there were any."""
        self._refused = grabber.refused
        played = False
        due_s = time.monotonic()
        while not self._stopping.is_set() and (image := grabber.read()) is not None:
            captured_ns = time.monotonic_ns()
            self._publish(image, captured_ns, is_live=not grabber.recorded)
            played = True
            if self._sight.wants_reopening(captured_ns):
                break
            if grabber.pace_s:
                # Late frames are not caught up in a burst: only the newest would be seen.
                due_s = max(due_s + grabber.pace_s, time.monotonic())
                self._stopping.wait(due_s - time.monotonic())
        return played

    def _publish(self, image: Image, captured_ns: int, *, is_live: bool) -> None:
        trouble = self._sight.observe(self._settings.region.crop(image), captured_ns, is_live=is_live)
        with self._changed:
            number = self._newest.number + 1 if self._newest else 1
            self._newest = Frame(image, number, captured_ns)
            if self._state is CameraState.LOST:
                self._recent_ns.clear()
                self._reopened += number > 1
            self._state, self._trouble = CameraState.LIVE, trouble
            self._recent_ns.append(captured_ns)
            self._changed.notify_all()

    def _lose(self, trouble: Trouble) -> None:
        with self._changed:
            self._state, self._trouble = CameraState.LOST, trouble
