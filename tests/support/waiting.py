"""Waiting for something to become true, with a deadline instead of luck."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

SOON_S = 10.0
LOOK_EVERY_S = 0.005


async def until(is_so: Callable[[], bool], what: str = "it", within_s: float = SOON_S) -> None:
    """Return as soon as the condition holds; AssertionError when that takes too long."""
    try:
        async with asyncio.timeout(within_s):
            while not is_so():
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {within_s} s") from None


async def until_asked(
    is_so: Callable[[], Awaitable[bool]], what: str = "it", within_s: float = SOON_S
) -> None:
    """Return as soon as the condition, which has to be asked for, holds; AssertionError when that takes too long."""
    try:
        async with asyncio.timeout(within_s):
            while not await is_so():
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {within_s} s") from None
