"""What a box remembers of its neighbours, however it comes to hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from admission.codes import TicketCode, Validity
from admission.decision import decide
from admission.events import Admitted, Closed, Entry, encode
from admission.facts import Exposure
from admission.reasons import Reason
from admission.tickets import Basis, Outcome, Risk
from offline_cache.neighbours import Heard, MisnumberedError
from offline_cache.retention import USES_KEPT_S, prune
from sync.protocol import Batch, Stream
from tests.central.world import POLICY
from tests.support.site_box import LANE, NOW_MS, SiteBox, site_box

KEY = b"k" * 16


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[SiteBox]:
    """The box whose memory is looked at."""
    async with site_box(tmp_path, "B2") as box:
        await box.begin()
        yield box


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[SiteBox]:
    """Its neighbour, with a use that was closed and one that was not."""
    async with site_box(tmp_path, "B1") as box:
        await box.begin()
        await box.close(await box.use(KEY))
        await box.use(b"o" * 16)
        yield box


async def test_neighbours_use_counts(here: SiteBox, there: SiteBox) -> None:
    """A ticket used at the neighbour is used here, and it is known where."""
    await here.neighbours.take(await there.batch())
    history = (await here.facts(KEY)).history
    assert history.used_since_list(Basis.TICKET) == 1
    assert [use.box_id for use in history.uses] == ["B1"]


async def test_neighbours_use_counts_up_to_the_lists_watermark(here: SiteBox, there: SiteBox) -> None:
    """The use carries the neighbour's number, by which a list says whether it has counted it."""
    await here.neighbours.take(await there.batch())
    use = (await here.facts(KEY)).history.uses[0]
    assert (use.box_id, use.seq_no) == ("B1", 2)


async def test_abandoned_at_the_neighbour_gives_the_right_back(here: SiteBox, there: SiteBox) -> None:
    """A closing is heard like a use."""
    other = b"a" * 16
    await there.close(await there.use(other), Outcome.ABANDONED)
    await here.neighbours.take(await there.batch())
    assert (await here.facts(other)).history.used_since_list(Basis.TICKET) == 0


async def test_nothing_enters_the_own_ledger(here: SiteBox, there: SiteBox) -> None:
    """What a neighbour did is the neighbour's to report, and its open admissions are its own to close."""
    before = await here.head()
    await here.neighbours.take(await there.batch())
    assert await here.head() == before
    assert await here.rows("SELECT * FROM open_admissions") == []


async def test_floor_limit_counts_own_uses_only(here: SiteBox, there: SiteBox) -> None:
    """A neighbour's risk leaves this box's limit as it was."""
    await there.use(b"r" * 16, risk=Risk.UNLISTED)
    await here.use(b"s" * 16, risk=Risk.UNLISTED)
    await here.neighbours.take(await there.batch())
    assert (await here.facts(b"t" * 16)).exposure == Exposure(unlisted=1)


async def test_interrupted_admission_goes_on_only_where_it_was_made(here: SiteBox, there: SiteBox) -> None:
    """A neighbour's lane may bear the same name: its interrupted visitor is not let in here without a right."""
    interrupted = b"x" * 16
    await there.close(await there.use(interrupted), Outcome.UNKNOWN)
    await here.neighbours.take(await there.batch())
    credential = TicketCode(interrupted, "DAY1", Validity(0, 1 << 40, 0))
    reasons = [
        decide(credential, await box.facts(interrupted), POLICY, NOW_MS).reason for box in (there, here)
    ]
    assert reasons == [Reason.RESUMED, Reason.ALREADY_USED]


async def test_same_batch_again_changes_nothing(here: SiteBox, there: SiteBox) -> None:
    """Duplicates are known rows."""
    await here.neighbours.take(await there.batch())
    before = await here.sets()
    await here.neighbours.take(await there.batch())
    assert await here.sets() == before
    assert (await here.heard(there)).seq_no == (await there.head()).seq_no


async def test_beyond_a_gap_uses_count_and_the_place_stays(here: SiteBox, there: SiteBox) -> None:
    """The newest uses are the most dangerous ones: they count before the gap is filled."""
    await here.neighbours.take(await there.batch(after=3))
    assert (await here.heard(there)).seq_no == 0
    assert (await here.facts(b"o" * 16)).history.uses != ()
    await here.neighbours.take(await there.batch())
    assert await here.sets() == await there.sets()
    assert (await here.heard(there)).seq_no == 4


async def test_closing_before_its_use_is_heard_again_with_it(here: SiteBox, there: SiteBox) -> None:
    """A closing whose use lies in the gap is not kept alone, and not lost."""
    await here.neighbours.take(await there.batch(after=2))
    assert await here.rows("SELECT * FROM closings") == []
    await here.neighbours.take(await there.batch())
    assert await here.sets() == await there.sets()


async def test_neighbour_cannot_close_what_is_not_its_own(here: SiteBox, there: SiteBox) -> None:
    """A box speaks for its own admissions only."""
    own = await here.use(b"m" * 16)
    forged = _batch(there, Entry(1, NOW_MS, Closed(own, Outcome.RELEASED)))
    await here.neighbours.take(forged)
    assert await here.rows("SELECT * FROM closings") == []


async def test_misnumbered_entry_is_refused(here: SiteBox, there: SiteBox) -> None:
    """An entry at another place than its own is a mistake of its sender, and nothing of the batch counts."""
    batch = _batch(there, Entry(7, NOW_MS, _admitted(b"i" * 16)))
    with pytest.raises(MisnumberedError):
        await here.neighbours.take(batch)
    assert await here.rows("SELECT * FROM uses") == []


@pytest.mark.parametrize("number", [1 << 63, -1])
async def test_number_that_fits_no_column_is_not_readable(here: SiteBox, there: SiteBox, number: int) -> None:
    """A senseless number ends neither the box nor the conversation."""
    admitted = msgspec.structs.replace(_admitted(b"i" * 16), quantity=number)
    taken = await here.neighbours.take(_batch(there, Entry(1, NOW_MS, admitted)))
    assert (taken.unreadable, taken.heard.seq_no) == (1, 1)


async def test_other_history_is_heard_from_its_beginning(
    here: SiteBox, there: SiteBox, tmp_path: Path
) -> None:
    """A neighbour whose disk was replaced is noticed by its chain, and all that it did counts."""
    await here.neighbours.take(await there.batch())
    async with site_box(tmp_path / "replaced", "B1") as other:
        await other.begin()
        for number in range(5):
            await other.use(bytes([number]) * 16)
        taken = await here.neighbours.take(await other.batch(after=3))
        assert (taken.is_other_history, taken.heard) == (True, Heard())
        await here.neighbours.take(await other.batch())
        assert (await here.heard(other)).hash == (await other.head()).hash
    assert len(await here.rows("SELECT * FROM uses WHERE box_id = 'B1'")) == 2 + 5


async def test_shorter_ledger_of_another_epoch_is_another_history(
    here: SiteBox, there: SiteBox, tmp_path: Path
) -> None:
    """A neighbour restored from a backup is noticed before it has caught up with what it had forgotten."""
    await here.neighbours.take(await there.batch())
    async with site_box(tmp_path / "restored", "B1") as other:
        await other.begin()
        assert (await here.neighbours.compare(await other.head())).is_other_history


async def test_late_word_is_no_other_history(here: SiteBox, there: SiteBox) -> None:
    """A head that was overtaken by entries of the same epoch is only late."""
    late = await there.head()
    await there.use(b"n" * 16)
    await here.neighbours.take(await there.batch())
    assert not (await here.neighbours.compare(late)).is_other_history


async def test_forgotten_entries_are_not_waited_for(here: SiteBox, there: SiteBox) -> None:
    """A neighbour that no longer keeps its oldest entries is followed from where it does."""
    await there.database.write(lambda sql: sql.execute("DELETE FROM ledger WHERE seq_no < 3"))
    head = await there.head()
    assert (head.floor, (await here.neighbours.compare(head)).heard) == (3, Heard(3))
    await here.neighbours.take(await there.batch(after=3))
    assert await here.heard(there) == Heard(4, head.hash)


async def test_neighbours_uses_are_forgotten_like_own_ones(here: SiteBox, there: SiteBox) -> None:
    """Retention asks when the right expires, not where it was used."""
    await there.close(await there.use(b"e" * 16, keep_until_s=NOW_MS // 1000))
    await here.neighbours.take(await there.batch())
    await prune(here.database, NOW_MS + (USES_KEPT_S + 1) * 1000)
    assert await here.rows("SELECT * FROM uses WHERE key = x'65656565656565656565656565656565'") == []
    assert len(await here.rows("SELECT * FROM closings")) == 1


def _batch(box: SiteBox, *entries: Entry) -> Batch:
    return Batch(
        stream=Stream.LEDGER,
        box_id=box.box_id,
        first=1,
        previous_hash=bytes(32),
        entries=[encode(entry) for entry in entries],
    )


def _admitted(admission_id: bytes) -> Admitted:
    return Admitted(admission_id, KEY, Basis.TICKET, "", LANE, 1, 0, Risk.NONE, 0, 0, "test")
