"""What is owed: asked for exactly once however often it is asked, in default when it does not come, and repaired."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, select

from admission.changes import CreditLineRow
from admission.tickets import Basis, Outcome
from central.changes import changed_rows
from central.ingest import ingest
from central.lists import build_list
from central.payments import book
from central.payments.book import HOUR_S, NotNowError, State
from central.payments.collecting import Collecting
from central.payments.mock import MockProvider
from central.payments.provider import Declined, Done, ProviderUnreachableError, Request
from central.reconcile import fold, forget
from central.schema import conflicts, credit_lines, credit_orders, payments, suspensions
from central.store import Store, open_store
from sync.protocol import Stream
from tests.central.conftest import Client, World
from tests.central.world import NOW_MS, POLICY, Box, admission_id, admitted, closed, register

KEY = b"k" * 16
FARE_FEN = 5000
RETRIES_H = (1, 6)
NOW_S = NOW_MS // 1000


def visits(connection: Connection, count: int = 1, *, limit_fen: int = 20_000, order_id: str = "") -> Box:
    """A subject with a credit line, and visits on it that were passed."""
    box = Box()
    register(connection, box)
    line = {"key": KEY, "limit_fen": limit_fen, "per_visit_fen": 9000, "until_s": 1 << 40, "revision": 1}
    connection.execute(insert(credit_lines), line)
    if order_id:
        order = {"key": KEY, "order_id": order_id, "site_id": "fairy", "fare_fen": FARE_FEN, "quantity": 9}
        connection.execute(insert(credit_orders), {**order, "from_s": 0, "until_s": 1 << 40, "revision": 2})
    visit(connection, box, *range(1, count + 1), order_id=order_id)
    return box


def visit(connection: Connection, box: Box, *numbers: int, order_id: str = "") -> None:
    """More visits that were passed."""
    basis = Basis.CREDIT_ORDER if order_id else Basis.CREDIT_LINE
    for number in numbers:
        box.append(admitted(number, KEY, basis, scope=order_id, fare_fen=FARE_FEN))
        box.append(closed(number, Outcome.PASSED))
    assert ingest(connection, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS) is not None
    while fold(connection, POLICY):
        pass


@dataclass
class Desk:
    """Who collects, the mock that it asks, and a clock that a test moves."""

    store: Store
    provider: MockProvider
    now_s: int = NOW_S
    settled: list[bool] = field(default_factory=list)
    collecting: Collecting = field(init=False)

    def __post_init__(self) -> None:
        self.collecting = Collecting(
            self.store, POLICY, self.provider, RETRIES_H, lambda: self.now_s * 1000, self.settled.append
        )

    async def after(self, hours: float = 0) -> None:
        """Let time pass, and everything be asked that is due then."""
        self.now_s += int(hours * HOUR_S)
        await self.collecting._collect()

    async def states(self) -> list[str]:
        """Where the payments stand, by admission."""
        query = select(payments.c.state).order_by(payments.c.admission_id)
        return await self.store.read(lambda connection: list(connection.scalars(query)))

    async def per_visit_fen(self) -> int:
        """What the subject's line gives for a visit now."""
        query = select(credit_lines.c.per_visit_fen)
        return int(await self.store.read(lambda connection: connection.scalar(query)) or 0)

    def moved_fen(self) -> list[int]:
        """What the mock moved on the subject's account."""
        return self.provider.moved_fen(KEY.hex())


@pytest.fixture
def desk(store: Store, tmp_path: Path) -> Desk:
    """A desk whose provider has never been asked."""
    return Desk(store, MockProvider(tmp_path / "mock.db"))


async def test_a_passage_is_paid_for_once(desk: Desk) -> None:
    """However often the ledger is folded anew, and the desk looks."""
    await desk.store.run(lambda connection: visits(connection, 2))
    for _ in range(2):
        await desk.after()
        await desk.store.run(forget)
        await desk.store.run(lambda connection: [None for _ in iter(lambda: fold(connection, POLICY), 0)])
    await desk.after(1000)
    assert desk.moved_fen() == [-FARE_FEN, -FARE_FEN]
    assert await desk.states() == [State.PAID, State.PAID]


async def test_a_payment_is_keyed_by_order_and_use(desk: Desk) -> None:
    """The provider sees the same request whenever it is asked for the same thing."""
    await desk.store.run(lambda connection: visits(connection, order_id="A-1"))
    await desk.after()
    rows = await desk.store.read(lambda connection: book.described(connection, None, KEY, 9))
    (paid,) = rows
    assert paid["reference"] == f"mock-charge:A-1:{admission_id(1).hex()}"
    assert [entry["what"] for entry in paid["entries"]] == ["due", "paid"]


@pytest.mark.parametrize("offline", ["before", "after"])
async def test_no_answer_is_asked_again_and_never_a_default(desk: Desk, offline: str) -> None:
    """Whether the money was moved is not known: the same request finds out, and moves it once."""
    await desk.store.run(visits)
    desk.provider.offline = offline
    for _ in range(5):
        await desk.after(RETRIES_H[0])
    assert await desk.states() == [State.DUE]
    desk.provider.offline = ""
    await desk.after(RETRIES_H[0])
    assert (await desk.states(), desk.moved_fen()) == ([State.PAID], [-FARE_FEN])


async def test_what_is_declined_is_asked_for_again_and_then_in_default(desk: Desk) -> None:
    """After each wait once; the default suspends the line, which boxes hear of ahead of bulk."""
    await desk.store.run(visits)
    desk.provider.account(KEY.hex(), 0)
    await desk.after()
    await desk.after(0.9)
    assert (await desk.states(), await desk.per_visit_fen()) == ([State.DUE], 9000)
    await desk.after(0.1)
    await desk.after(5.9)
    assert await desk.states() == [State.DUE]
    await desk.after(0.1)
    assert (await desk.states(), await desk.per_visit_fen()) == ([State.DEFAULTED], 0)
    urgent = await desk.store.read(lambda sql: changed_rows(sql, 1, 9, urgent_only=True))
    lines = [row for row in urgent if isinstance(row, CreditLineRow)]
    assert [(row.key, row.per_visit_fen) for row in lines] == [(KEY, 0)]
    assert desk.settled == [False, False, True]


async def test_paying_what_was_in_default_repairs_the_line(desk: Desk) -> None:
    """Once nothing is in default any more; it gives what it gave before."""
    await desk.store.run(lambda connection: visits(connection, 2))
    desk.provider.account(KEY.hex(), 0)
    for hours in (0, 1, 6):
        await desk.after(hours)
    assert (await desk.states(), await desk.per_visit_fen()) == ([State.DEFAULTED] * 2, 0)
    desk.provider.account(KEY.hex(), 2 * FARE_FEN)
    for number, gives_fen in ((1, 0), (2, 9000)):
        await ask_again(desk, number)
        await desk.after()
        assert await desk.per_visit_fen() == gives_fen
    assert await desk.store.read(lambda sql: sql.execute(select(suspensions)).all()) == []


async def test_a_line_that_somebody_decided_about_meanwhile_is_left_as_it_is(desk: Desk) -> None:
    """An import after the default outranks the repair."""
    await desk.store.run(visits)
    desk.provider.account(KEY.hex(), 0)
    for hours in (0, 1, 6):
        await desk.after(hours)
    await desk.store.run(lambda sql: sql.execute(credit_lines.update().values(per_visit_fen=1234)))
    assert not await desk.store.run(lambda sql: book.write_off(sql, admission_id(1), "goodwill", desk.now_s))
    assert await desk.per_visit_fen() == 1234


async def test_what_is_paid_for_frees_the_line(desk: Desk, tmp_path: Path) -> None:
    """In the next list, and in the judgement of what exceeds it; what is owed counts."""
    box = await desk.store.run(lambda connection: visits(connection, 2, limit_fen=10_000))
    assert await outstanding_fen(desk, tmp_path) == 2 * FARE_FEN
    await desk.after()
    assert await outstanding_fen(desk, tmp_path) == 0
    await desk.store.run(lambda connection: visit(connection, box, 3, 4))
    assert await desk.store.read(lambda sql: sql.execute(select(conflicts)).all()) == []
    desk.provider.offline = "before"
    await desk.after()
    await desk.store.run(lambda connection: visit(connection, box, 5))
    found = await desk.store.read(lambda sql: [row.kind for row in sql.execute(select(conflicts))])
    assert found == ["credit_exceeded"]
    assert await outstanding_fen(desk, tmp_path) == 3 * FARE_FEN


async def ask_again(desk: Desk, number: int) -> None:
    """Somebody has told that the money can be had now."""
    await desk.store.run(lambda sql: book.ask_again(sql, admission_id(number), "at the counter", desk.now_s))


async def outstanding_fen(desk: Desk, folder: Path) -> int:
    """What the list says that the subject owes."""
    path = folder / "list.sqlite"
    await desk.store.read(
        lambda sql: build_list(sql, path, POLICY, site_id="fairy", version=7, as_of_s=desk.now_s)
    )
    with contextlib.closing(sqlite3.connect(path)) as opened:
        return int(opened.execute("SELECT outstanding_fen FROM credit_lines").fetchone()[0])


async def test_a_refund_gives_back_once(desk: Desk) -> None:
    """Also when no answer came to it; and what was never paid is not given back."""
    await desk.store.run(visits)
    with pytest.raises(NotNowError, match="no such payment"):
        await desk.store.run(lambda sql: book.give_back(sql, admission_id(1), "closed", desk.now_s))
    desk.provider.offline = "before"
    await desk.after()
    with pytest.raises(NotNowError, match="it is due, not paid"):
        await desk.store.run(lambda sql: book.give_back(sql, admission_id(1), "closed", desk.now_s))
    desk.provider.offline = ""
    await desk.after(1)
    await desk.store.run(lambda sql: book.give_back(sql, admission_id(1), "the lift stood still", desk.now_s))
    desk.provider.offline = "after"
    await desk.after()
    desk.provider.offline = ""
    await desk.after(1)
    assert (await desk.states(), desk.moved_fen()) == ([State.REFUNDED], [-FARE_FEN, FARE_FEN])
    with pytest.raises(NotNowError, match="it is refunded"):
        await desk.store.run(lambda sql: book.give_back(sql, admission_id(1), "again", desk.now_s))


@pytest.mark.parametrize(
    ("answer", "state"),
    [(None, State.WRITTEN_OFF), (Declined("empty"), State.WRITTEN_OFF), (Done("r-1"), State.PAID)],
)
async def test_what_was_decided_while_the_provider_was_asked_stands_unless_the_money_was_moved(
    desk: Desk, answer: Done | Declined | None, state: State
) -> None:
    """An answer that comes late does not make it due again."""
    await desk.store.run(visits)
    await desk.store.run(lambda sql: book.take_up(sql, desk.now_s))
    (asked,) = await desk.store.read(lambda sql: book.to_be_asked(sql, desk.now_s, 9))
    await desk.store.run(lambda sql: book.write_off(sql, admission_id(1), "goodwill", desk.now_s))
    await desk.store.run(lambda sql: book.note_answer(sql, asked, answer, desk.now_s, RETRIES_H))
    assert await desk.states() == [state]


async def test_a_free_passage_on_credit_asks_for_nothing(desk: Desk) -> None:
    """Whole discounts happen."""
    box = await desk.store.run(lambda connection: visits(connection, 0))
    box.append(admitted(1, KEY, Basis.CREDIT_LINE, fare_fen=0))
    box.append(closed(1, Outcome.PASSED))
    await desk.store.run(lambda sql: ingest(sql, box.topics.up(Stream.LEDGER), box.batch(), NOW_MS))
    await desk.store.run(lambda sql: fold(sql, POLICY))
    await desk.after()
    assert (await desk.states(), desk.moved_fen()) == ([State.PAID], [])


def visit_one(connection: Connection, box: Box, number: int) -> None:
    """One more visit."""
    visit(connection, box, number)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(
            ["visit", "ask", "offline", "online", "half", "poor", "rich", "again", "refund", "crash"]
        ),
        max_size=14,
    )
)
def test_no_sequence_moves_money_twice_or_loses_it(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the provider has moved is what the book says, once everything that is due was answered."""
    asyncio.run(run_through(steps, tmp_path_factory.mktemp("desk")))


async def run_through(steps: list[str], folder: Path) -> None:
    """Take the steps, then answer everything, and compare the two books."""
    store = open_store(folder / "centre.db")
    desk = Desk(store, MockProvider(folder / "mock.db"))
    box = await store.run(lambda connection: visits(connection, 0, limit_fen=1 << 40))
    number = 0
    for step in steps:
        match step:
            case "visit":
                number += 1
                await store.run(partial(visit_one, box=box, number=number))
            case "ask":
                await desk.after(1)
            case "offline" | "online" | "half":
                desk.provider.offline = {"offline": "before", "online": "", "half": "after"}[step]
            case "poor" | "rich":
                desk.provider.account(KEY.hex(), 0 if step == "poor" else 1 << 40)
            case "crash":  # the provider has moved it, and nobody has entered that
                due = await store.read(lambda sql: book.to_be_asked(sql, desk.now_s, 1))
                with contextlib.suppress(ProviderUnreachableError):
                    for payment in due:
                        request = book.request_of(payment)
                        is_refund = payment.state == State.REFUNDING
                        await (desk.provider.refund(request) if is_refund else desk.provider.charge(request))
            case _:
                act = book.ask_again if step == "again" else book.give_back
                decide = partial(act, admission_id=admission_id(number), why="why", now_s=desk.now_s)
                with contextlib.suppress(NotNowError):
                    await store.run(decide)
    desk.provider.offline = ""
    desk.provider.account(KEY.hex(), 1 << 40)
    for _ in range(3):
        await desk.after(24)
    states = await desk.states()
    store.close()
    assert len(states) == number
    assert State.DUE not in states
    owed_by = {State.PAID: -FARE_FEN, State.REFUNDED: 0, State.DEFAULTED: 0}
    assert sum(desk.moved_fen()) == sum(owed_by[State(state)] for state in states)


# The mock ---------------------------------------------------------------------------------------------------


async def test_the_mock_answers_the_same_to_the_same_request(tmp_path: Path) -> None:
    """Also after it was started again, and when the account is empty meanwhile."""
    request = Request("charge:line:1", "a", 700)
    MockProvider(tmp_path / "mock.db").account("a", 1000)
    answers = [await MockProvider(tmp_path / "mock.db").charge(request) for _ in range(2)]
    assert answers == [Done("mock-charge:line:1")] * 2
    other = await MockProvider(tmp_path / "mock.db").charge(Request("charge:line:2", "a", 700))
    assert isinstance(other, Declined)
    assert MockProvider(tmp_path / "mock.db").moved_fen("a") == [-700]


# The routes -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def owing(world: World, folder: Path, balance_fen: int) -> AsyncIterator[Desk]:
    """A subject who has visited once, and has so much; everything was asked for as often as it is."""
    desk = Desk(world.centre.store, MockProvider(folder / "mock.db"))
    await desk.store.run(visits)
    desk.provider.account(KEY.hex(), balance_fen)
    for hours in (0, 1, 6):
        await desk.after(hours)
    yield desk


async def test_payments_are_shown_and_decided(client: Client, world: World, tmp_path: Path) -> None:
    """A default is written off with a reason, and the line is repaired."""
    async with owing(world, tmp_path, 0):
        shown = (await (await client.get("/v1/payments?state=defaulted")).json())["payments"]
        assert [(row["key"], row["fare_fen"], row["attempts"]) for row in shown] == [(KEY.hex(), FARE_FEN, 3)]
        path = f"/v1/payments/{admission_id(1).hex()}"
        refused = await client.post(f"{path}/refund", json={"why": "a mistake"})
        assert (refused.status, (await refused.json())["error"]["code"]) == (409, "not_now")
        done = await client.post(f"{path}/write-off", json={"why": "a mistake of ours"})
        row = await done.json()
        assert (done.status, row["state"], row["entries"][-1]["said"]) == (
            200,
            "written_off",
            "a mistake of ours",
        )
        assert world.changes == ["rights"]


async def test_a_payment_is_asked_for_again_or_given_back_by_route(
    client: Client, world: World, tmp_path: Path
) -> None:
    """Each answers with where the payment stands then."""
    async with owing(world, tmp_path, 0) as desk:
        path = f"/v1/payments/{admission_id(1).hex()}"
        asked = await client.post(f"{path}/ask-again", json={"why": "topped up"})
        assert (await asked.json())["state"] == "due"
        desk.provider.account(KEY.hex(), FARE_FEN)
        await desk.after()
        back = await client.post(f"{path}/refund", json={"why": "the lift stood still"})
        assert (await back.json())["state"] == "refunding"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/v1/payments?state=gone", None, 422, "state"),
        ("GET", "/v1/payments?key=xyz", None, 422, "key"),
        ("GET", "/v1/payments?limit=x", None, 422, "limit"),
        ("POST", "/v1/payments/xyz/refund", {"why": "x"}, 404, ""),
        ("POST", f"/v1/payments/{'00' * 16}/refund", {"why": "x"}, 409, ""),
        ("POST", f"/v1/payments/{'00' * 16}/refund", {"why": ""}, 422, "why"),
        ("POST", f"/v1/payments/{'00' * 16}/write-off", {}, 422, ""),
    ],
)
async def test_mistakes_are_named(
    client: Client, method: str, path: str, body: Any, status: int, field: str
) -> None:
    """Nothing is entered."""
    response = await client.request(method, path, json=body)
    error = (await response.json())["error"]
    assert (response.status, error.get("field", "")) == (status, field)
