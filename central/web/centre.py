"""What the routes work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from admission.policy import Policy
from central.clock import Clock
from central.keys import CentreKeys
from central.store import Store


async def _nothing() -> None:
    """Nobody is to be told."""


@dataclass(frozen=True, slots=True)
class Centre:
    """The running centre: `rights_changed` is called after every COMMIT that changed rights, and so are the others.

    `new_short_code` must never return the same code again, nor one that could be guessed.
    """

    store: Store
    policy: Policy
    keys: CentreKeys
    lists: Path
    allow_demo_keys: bool
    clock: Clock
    new_short_code: Callable[[], str]
    rights_changed: Callable[[], None]
    payments_changed: Callable[[], None] = lambda: None
    boxes_changed: Callable[[], Awaitable[None]] = _nothing
    time_repaired: Callable[[], None] = lambda: None
    list_token: str = ""
    """With which boxes fetch lists; those that enrol are told."""
