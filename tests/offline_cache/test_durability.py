"""SIGKILL at the worst moments: what was answered is there, what was not is not, and a list is the old or the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from admission.events import Admitted, EpochOpened, chain, decode_entry
from admission.reasons import Reason
from tests.admission.makers import BOX, NOW_MS, TICKET_CODE
from tests.offline_cache.box import opened_box
from tests.offline_cache.killed import INSTALL_STEPS, run_killed


async def test_what_was_answered_survives_the_kill(tmp_path: Path) -> None:
    """Use and ledger entry are in the file, the chain holds, and the folder is free again."""
    said = run_killed(tmp_path, "answer")
    async with opened_box(tmp_path) as box:
        tail = await box.outbox.ledger_after(0, 9)
        events = [decode_entry(entry).event for entry in tail.entries]
        assert [type(event) for event in events] == [EpochOpened, Admitted]
        assert said.strip() == f"{BOX}-2"
        hashes = await box.rows("SELECT hash FROM ledger ORDER BY seq_no")
        assert hashes[1] == chain(chain(bytes(32), tail.entries[0]), tail.entries[1])
        (use,) = (await box.facts(TICKET_CODE)).history.uses
        assert use.seq_no == 2
        assert await box.store.open_epoch(b"two", NOW_MS) == 1


async def test_what_was_not_committed_never_happened(tmp_path: Path) -> None:
    """The visitor was not answered: ledger and uses know nothing of them, and they may simply try again."""
    run_killed(tmp_path, "write")
    async with opened_box(tmp_path) as box:
        assert await box.rows("SELECT seq_no FROM ledger") == [1]
        assert await box.store.open_epoch(b"two", NOW_MS) == 0
        assert (await box.show(TICKET_CODE)).decision.reason is Reason.UNLISTED_TICKET


@pytest.mark.parametrize("step", INSTALL_STEPS)
async def test_a_kill_while_a_list_is_installed_leaves_the_old_or_the_new(tmp_path: Path, step: str) -> None:
    """The new one once its commit is through; installing again then works."""
    run_killed(tmp_path, step)
    async with opened_box(tmp_path) as box:
        is_new = step in ("before the swap", "before the sweep")
        assert (box.lists.version, box.lists.problem) == (8 if is_new else 7, "")
        await box.install(9)
        assert len(list((tmp_path / "lists").glob("*.list"))) == 1
