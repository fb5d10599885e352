"""The audit can fail: whatever is taken from, added to or changed in a clean day is found, once, in the right list."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from admission.tickets import Basis, Outcome
from central.schema import metadata
from central.store import open_store
from demo.audit import CentreBooks, Excess, Findings, audit, read_books, read_witness
from demo.cast import Guest
from demo.troubles import Fact, Troubles
from demo.world import BOX_ID

KEYS = {name: name.encode().ljust(16, b".") for name in ("ticket", "line", "member", "back", "other")}
OTHER_BOX = "B2"
QUIET_MS = 60_000.0
"""Far enough between two visitors that a kill touches only one of them."""


@dataclass(slots=True)
class Day:
    """One day at the gate as the witness saw it, and the centre's books of it; tests change one thing in it."""

    guests: list[Guest] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    uses: dict[str, Fact] = field(default_factory=dict)
    outcomes: dict[str, set[Outcome]] = field(default_factory=dict)
    charges: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, Excess] = field(default_factory=dict)
    quantities: dict[str, int] = field(default_factory=dict)
    ledger: list[int] = field(default_factory=lambda: [1])
    diary: set[int] = field(default_factory=set)
    kills_ms: list[float] = field(default_factory=list)
    other_kills_ms: list[float] = field(default_factory=list)
    apart: list[tuple[float, float]] = field(default_factory=list)

    def audit(self) -> Findings:
        """What the audit finds."""
        books = CentreBooks(
            uses=self.uses,
            outcomes={name: frozenset(ended) for name, ended in self.outcomes.items()},
            charges=self.charges,
            conflicts=self.conflicts,
            quantities=self.quantities,
            ledger_numbers={BOX_ID: self.ledger},
            diary_numbers={BOX_ID: sorted(self.diary)},
        )
        kills = [(BOX_ID, at_ms) for at_ms in self.kills_ms]
        kills += [(OTHER_BOX, at_ms) for at_ms in self.other_kills_ms]
        troubles = Troubles({"1": BOX_ID, "3": OTHER_BOX}, kills, self.apart)
        return audit(self.guests, self.facts, books, troubles)

    def admit(self, name: str, basis: Basis, reason: str, *, fare_fen: int = 0, passes: bool = True) -> None:
        """A visitor is let in, and passes or does not."""
        self._come(name, ("ADMIT", reason), KEYS[name].hex(), passes=passes)
        admission_id = name.encode().hex()
        began_ms = self._say(
            name, "verdict", verdict="ADMIT", reason=reason, record=f"{BOX_ID}-{self._enter()}"
        )
        for what in ("released", *(["passed"] if passes else []), "closed"):
            self._say(name, what, began_ms, admission_id=admission_id)
        scope = "policy/site" if basis is Basis.FREE_VISIT else ""
        use = {"key": KEYS[name], "basis": int(basis), "quantity": 1, "fare_fen": fare_fen, "scope": scope}
        use |= {"box_id": BOX_ID, "lane_id": "1"}
        self.uses[admission_id] = use
        self.outcomes[admission_id] = {Outcome.PASSED if passes else Outcome.ABANDONED}
        self._enter()
        if fare_fen and passes:
            self.charges[admission_id] = fare_fen

    def refuse(self, name: str, reason: str) -> None:
        """A visitor is turned away."""
        self._come(name, ("DENY", reason), "")
        number = len(self.diary) + 1
        self.diary.add(number)
        self._say(name, "verdict", verdict="DENY", reason=reason, record=f"{BOX_ID}-D{number}")

    def fact(self, name: str, what: str) -> Fact:
        """What the witness saw of a visitor."""
        return next(fact for fact in self.facts if (fact["visitor"], fact["what"]) == (name, what))

    def _come(self, name: str, expected: tuple[str, str], key: str, *, passes: bool = True) -> None:
        self.guests.append(Guest(name, name, "code", (expected,), key, passes=passes, lane="1"))
        self._say(name, "shown")

    def _say(self, name: str, what: str, at_ms: float | None = None, **facts: object) -> float:
        at_ms = len(self.guests) * QUIET_MS if at_ms is None else at_ms
        self.facts.append({"t_ms": at_ms, "lane": "1", "visitor": name, "what": what, **facts})
        return at_ms

    def _enter(self) -> int:
        self.ledger.append(len(self.ledger) + 1)
        return len(self.ledger)


def clean_day() -> Day:
    """A ticket, a credit line, a member's first visit, somebody who went away again, and a refusal."""
    day = Day(quantities={KEYS["ticket"].hex(): 1, KEYS["back"].hex(): 1})
    day.admit("ticket", Basis.TICKET, "TICKET")
    day.admit("line", Basis.CREDIT_LINE, "CREDIT_LINE", fare_fen=5000)
    day.admit("member", Basis.FREE_VISIT, "FREE_VISIT")
    day.admit("back", Basis.TICKET, "TICKET", passes=False)
    day.refuse("late", "EXPIRED")
    return day


def counts(day: Day) -> dict[str, int]:
    """How many findings there are in each list."""
    findings = day.audit()
    return {name: len(getattr(findings, name)) for name in ("lost", "doubled", "wrong")}


def admission(name: str) -> str:
    """The admission of one of the day's visitors."""
    return name.encode().hex()


def use_again(day: Day, name: str) -> None:
    """The right of a visitor is spent by somebody whom the barrier really let in."""
    other = admission("other")
    day.uses[other] = dict(day.uses[admission(name)])
    day.outcomes[other] = {Outcome.PASSED}
    for what in ("released", "passed", "closed"):
        day.facts.append({"t_ms": 0.0, "lane": "1", "visitor": "other", "what": what, "admission_id": other})


def swap_rights(day: Day) -> None:
    """The visitor with a ticket is let in on a right that is not theirs."""
    day.uses[admission("ticket")]["key"] = KEYS["other"]


def test_clean_day_has_no_findings() -> None:
    """Where both sides agree there is nothing to report, and everyone is counted."""
    findings = clean_day().audit()
    assert (findings.lost, findings.doubled, findings.wrong) == ([], [], [])
    assert (findings.admitted, dict(findings.refused)) == (4, {"EXPIRED": 1})
    assert (findings.resumed, findings.unknown) == (0, 0)


Change = Callable[[Day], Any]

LOST: dict[str, Change] = {
    "use missing at the centre": lambda day: day.uses.pop(admission("ticket")),
    "passage missing at the centre": lambda day: day.outcomes.pop(admission("ticket")),
    "passage is something else there": lambda day: day.outcomes.update(
        {admission("ticket"): {Outcome.ABANDONED}}
    ),
    "passage unknown there, and no kill": lambda day: day.outcomes.update(
        {admission("member"): {Outcome.UNKNOWN}}
    ),
    "charge missing": lambda day: day.charges.pop(admission("line")),
    "return of a right missing": lambda day: day.outcomes.pop(admission("back")),
    "return of a right unknown there": lambda day: day.outcomes.update(
        {admission("back"): {Outcome.UNKNOWN}}
    ),
    "closing's entry missing": lambda day: day.ledger.remove(3),
    "refusal's record missing": lambda day: day.diary.clear(),
    "admission's record missing": lambda day: day.fact("back", "verdict").update(record=f"{BOX_ID}-99"),
}
DOUBLED: dict[str, Change] = {
    "ledger entry counted twice": lambda day: day.ledger.append(2),
    "charged too much": lambda day: day.charges.update({admission("line"): 10_000}),
    "charged without credit": lambda day: day.charges.update({admission("ticket"): 5000}),
    "use without an opening": lambda day: day.facts.remove(day.fact("ticket", "released")),
    "passage without a visitor": lambda day: day.facts.remove(day.fact("ticket", "passed")),
    "ticket spent twice": lambda day: use_again(day, "ticket"),
    "free visit spent twice": lambda day: use_again(day, "member"),
    "more used than sold": lambda day: day.quantities.update({KEYS["ticket"].hex(): 0}),
}
WRONG: dict[str, Change] = {
    "another verdict": lambda day: day.fact("late", "verdict").update(verdict="ADMIT"),
    "another reason": lambda day: day.fact("late", "verdict").update(reason="REFUNDED"),
    "no answer": lambda day: day.facts.remove(day.fact("late", "verdict")),
    "a second, different answer": lambda day: day.facts.append(
        day.fact("ticket", "verdict") | {"verdict": "DENY", "reason": "ALREADY_USED"}
    ),
    "another's right": swap_rights,
}


@pytest.mark.parametrize(
    ("where", "change"),
    [
        pytest.param(where, change, id=f"{where}: {name}")
        for where, changes in (("lost", LOST), ("doubled", DOUBLED), ("wrong", WRONG))
        for name, change in changes.items()
    ],
)
def test_one_change_is_one_finding(where: str, change: Change) -> None:
    """Whatever is altered in a clean day is found once, in its own list, and nowhere else."""
    day = clean_day()
    change(day)
    assert counts(day) == {"lost": 0, "doubled": 0, "wrong": 0} | {where: 1}


def test_reported_conflict_is_no_finding() -> None:
    """A second spend that the centre reports as a conflict is known, and not doubled."""
    day = clean_day()
    use_again(day, "ticket")
    day.conflicts[admission("other")] = Excess(admission("ticket"), 5000)
    assert counts(day) == {"lost": 0, "doubled": 0, "wrong": 0}


@pytest.mark.parametrize(
    "excess", [Excess("", 5000), Excess(admission("nobody"), 5000), Excess(admission("ticket"), 0)]
)
def test_conflict_without_a_gate_or_its_cost_is_a_finding(excess: Excess) -> None:
    """What does not say who stood against whom, and what it cost, is no report."""
    day = clean_day()
    use_again(day, "ticket")
    day.conflicts[admission("other")] = excess
    assert counts(day) == {"lost": 0, "doubled": 1, "wrong": 0}


def show_copy_at_the_other_box(day: Day, at_ms: float) -> None:
    """The first visitor's ticket is shown again at another box, and admits."""
    copy = replace(day.guests[0], id="copy", kind="copy_elsewhere", follows="ticket", key="", lane="3")
    day.guests.append(replace(copy, expected=(("DENY", "ALREADY_USED"),)))
    day.facts.append(
        day.fact("ticket", "verdict") | {"visitor": "copy", "lane": "3", "t_ms": at_ms, "record": ""}
    )


@pytest.mark.parametrize(
    ("apart", "wrong"),
    [
        ([], 1),
        ([(50_000.0, 500_000.0)], 0),
        ([(50_000.0, 300_000.0)], 1),  # they have heard of each other since
        ([(200_000.0, 500_000.0)], 1),  # they had heard of each other before
    ],
)
def test_copy_may_pass_only_where_it_could_not_be_known(apart: list[tuple[float, float]], wrong: int) -> None:
    """A copy at the other box is excused while the boxes are apart, from before the use until after the copy."""
    day = clean_day()
    day.apart = apart
    show_copy_at_the_other_box(day, at_ms=400_000.0)
    assert counts(day) == {"lost": 0, "doubled": 0, "wrong": wrong}
    assert (day.audit().copies_admitted, day.audit().copies_refused) == (1, 0)


def test_kill_of_another_box_excuses_nothing_here() -> None:
    """Whoever stood at a box that was not killed was observed to the end."""
    day = clean_day()
    day.other_kills_ms = [day.fact("ticket", "passed")["t_ms"]]
    day.outcomes[admission("ticket")] = {Outcome.UNKNOWN}
    assert counts(day) == {"lost": 1, "doubled": 0, "wrong": 0}


def test_visitor_in_flight_at_a_kill_may_end_unknown() -> None:
    """A passage that a kill kept from being observed is counted, not found."""
    day = clean_day()
    day.kills_ms = [day.fact("ticket", "passed")["t_ms"]]
    day.outcomes[admission("ticket")] = {Outcome.UNKNOWN}
    assert counts(day) == {"lost": 0, "doubled": 0, "wrong": 0}
    assert day.audit().unknown == 1


def test_kill_excuses_only_who_stood_there() -> None:
    """A passage a minute after the kill has no excuse to be unknown."""
    day = clean_day()
    day.kills_ms = [day.fact("ticket", "passed")["t_ms"]]
    day.outcomes[admission("member")] = {Outcome.UNKNOWN}
    assert counts(day) == {"lost": 1, "doubled": 0, "wrong": 0}


def test_use_that_a_kill_interrupted_is_no_second_spend() -> None:
    """A use whose barrier never opened is expected after a kill when the centre has its end as unknown."""
    day = clean_day()
    day.kills_ms = [0.0]
    day.uses[admission("other")] = day.uses[admission("member")] | {"key": KEYS["other"]}
    day.outcomes[admission("other")] = {Outcome.UNKNOWN}
    assert counts(day)["doubled"] == 0
    day.outcomes[admission("other")] = set()
    assert counts(day)["doubled"] == 1


def test_visitor_in_flight_may_be_let_in_again() -> None:
    """Whoever stood there at a kill may be told to go on; the next who shows the same code may find it used."""
    day = clean_day()
    day.guests.append(replace(day.guests[0], id="next", follows="ticket", key=""))
    day.kills_ms = [day.fact("ticket", "verdict")["t_ms"]]
    again = day.fact("ticket", "verdict") | {"reason": "RESUMED"}
    day.facts.append(again)
    day.facts.append(
        again | {"visitor": "next", "verdict": "DENY", "reason": "ALREADY_USED", "t_ms": 400_000.0}
    )
    findings = day.audit()
    assert findings.wrong == []
    assert findings.resumed == 1
    day.kills_ms = []
    assert counts(day)["wrong"] == 2


def test_visit_that_went_on_with_the_one_before_spends_nothing() -> None:
    """Then the third may be let in as the second should have been; not so if the second was let in for itself."""
    day = Day()
    day.admit("line", Basis.CREDIT_LINE, "CREDIT_LINE", fare_fen=5000)
    first = [fact for fact in day.facts if fact["what"] in ("released", "passed", "closed")]
    day.kills_ms = [day.fact("line", "passed")["t_ms"]]
    day.guests.append(replace(day.guests[0], id="second", follows="line"))
    later = {"visitor": "second", "t_ms": day.kills_ms[0] + 2_000}
    gone_on = day.fact("line", "verdict") | later | {"reason": "RESUMED"}
    day.facts += [gone_on, *(fact | later for fact in first)]
    day.admit("other", Basis.CREDIT_LINE, "CREDIT_LINE", fare_fen=5000)
    day.guests[-1] = replace(day.guests[-1], follows="second", expected=(("DENY", "NO_CREDIT"),))
    assert counts(day)["wrong"] == 0
    for fact in day.facts:
        if fact["visitor"] == "second" and "admission_id" in fact:
            fact["admission_id"] = admission("back")
    assert counts(day)["wrong"] == 1


def test_witness_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """A line that was being written when the witness was stopped is no fact."""
    log = tmp_path / "witness.jsonl"
    log.write_text(json.dumps({"t_ms": 1.0, "what": "shown"}) + '\n{"t_ms": 2.0, "wh')
    assert read_witness(log) == [{"t_ms": 1.0, "what": "shown"}]


def test_books_are_read_from_the_centres_own_tables(tmp_path: Path) -> None:
    """Every table that the audit reads is one that the centre makes, with the columns it reads."""
    open_store(tmp_path / "centre.db").close()
    with closing(sqlite3.connect(tmp_path / "centre.db")) as sql:
        columns = {name: [column.name for column in table.columns] for name, table in metadata.tables.items()}
        row: dict[str, Any] = dict.fromkeys(columns["uses"], 0) | {
            "admission_id": b"a" * 16, "key": b"k" * 16, "basis": 1, "box_id": "B1", "scope": "", "lane_id": "1"
        }  # fmt: skip
        names = ", ".join(row)
        sql.execute(f"INSERT INTO uses ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))  # noqa: S608
        sql.commit()
    books = read_books(tmp_path / "centre.db")
    assert list(books.uses) == [(b"a" * 16).hex()]
    assert (books.charges, books.conflicts, list(books.ledger_numbers)) == ({}, {}, [])
