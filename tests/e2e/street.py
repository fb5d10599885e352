"""The street before a site's first lane, and what its boxes have told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.witness_log import WitnessLog
from demo.world import World


class Street:
    """Where visitors come from, and what they were told."""

    def __init__(self, world: World) -> None:
        self._script = world.script
        self._log = WitnessLog(world.witness_log)
        self._reasons: list[str] = []

    def send(self, *lines: str) -> None:
        """Let visitors come."""
        with self._script.open("a") as script:
            script.write("".join(f"{line}\n" for line in lines))

    def has(self, wanted: list[str]) -> Callable[[], Any]:
        """Whether these were the answers, and no others."""

        async def holds() -> bool:
            self._reasons += [fact["reason"] for fact in self._log.news() if fact["what"] == "verdict"]
            assert self._reasons == wanted[: len(self._reasons)]
            return len(self._reasons) == len(wanted)

        return holds


def all_sent(world: World) -> Callable[[], Any]:
    """Whether the centre has everything that the first box has to say."""

    async def holds() -> bool:
        state = await world.boxes["B1"].state()
        return bool(state and state["box"]["backlog"] == 0)

    return holds
