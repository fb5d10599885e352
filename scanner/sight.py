"""Whether pictures show anything: dark, blinded, covered or frozen. Pure: pictures and time are arguments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanner.trouble import Trouble

Image = NDArray[np.uint8]

_POINTS_ACROSS = 64
"""A grid of so many columns tells as much about light as the whole picture, for a thousandth of the price."""

_DARK_BELOW = 40
"""Gray value that even the lightest hundredth of a dark picture stays below; a lit phone lifts a corner above it."""

_WHITE_FROM = 250
_WHITE_SHARE = 0.7
"""A white phone close to the lens fills less than that of the picture for longer than a moment."""

_CONTRAST_BELOW = 12
"""Gray values between the darkest and the lightest hundredth; a wall in shade has more."""

_LASTING_MS = 5000
"""What lasts shorter is a visitor's sleeve, or a phone held too close."""

_NS_PER_MS = 1_000_000


def points(image: Image) -> Image:
    """A coarse grid of the picture's points (rows x columns x channels, or without channels for gray)."""
    step = max(1, image.shape[1] // _POINTS_ACROSS)
    return image[::step, ::step]


def judge(image: Image) -> Trouble | None:
    """What keeps anything from being seen in one picture; None when it can show something."""
    values = points(image)
    if values.size == 0:
        return Trouble.COVERED
    gray = values if values.ndim == 2 else values.mean(axis=2)
    darkest, lightest = np.percentile(gray, (1, 99))
    if lightest < _DARK_BELOW:
        return Trouble.DARK
    if (gray >= _WHITE_FROM).mean() > _WHITE_SHARE:
        return Trouble.BLINDED
    return Trouble.COVERED if lightest - darkest < _CONTRAST_BELOW else None


class Sight:
    """How well one camera sees, over time: what is wrong counts when it has lasted.

    A sensor's noise makes every picture differ from the one before, so a picture that stays the same to the bit
    for `frozen_after_ms` is an old one, sent again and again; 0 never says so.
    """

    def __init__(self, frozen_after_ms: int, lasting_ms: int = _LASTING_MS) -> None:
        self._frozen_after_ns = frozen_after_ms * _NS_PER_MS
        self._lasting_ns = lasting_ms * _NS_PER_MS
        self._print = b""
        self._changed_ns = 0
        self._judged: Trouble | None = None
        self._judged_since_ns = 0
        self._may_ask_anew = True

    def observe(self, image: Image, at_ns: int, *, is_live: bool) -> Trouble | None:
        """What is wrong as of a picture captured at `at_ns`; a recording (not `is_live`) never counts as frozen."""
        fingerprint = points(image).tobytes()
        if fingerprint != self._print or not is_live:
            self._print, self._changed_ns, self._may_ask_anew = fingerprint, at_ns, True
            self._note(judge(image), at_ns)
        if self._judged is not None and at_ns - self._judged_since_ns >= self._lasting_ns:
            return self._judged
        return Trouble.FROZEN if self._has_frozen(at_ns) else None

    def wants_reopening(self, at_ns: int) -> bool:
        """Whether opening the camera anew may help: once for each time that the picture froze."""
        wants = self._may_ask_anew and self._has_frozen(at_ns)
        self._may_ask_anew = self._may_ask_anew and not wants
        return wants

    def _note(self, judged: Trouble | None, at_ns: int) -> None:
        if judged is not self._judged:
            self._judged, self._judged_since_ns = judged, at_ns

    def _has_frozen(self, at_ns: int) -> bool:
        return 0 < self._frozen_after_ns <= at_ns - self._changed_ns
