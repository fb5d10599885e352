"""What the witness saw against what the centre holds: nothing lost, nothing doubled, nothing wrong."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from admission.reasons import Reason, Verdict
from admission.tickets import Basis, Outcome, is_held
from demo.cast import Guest
from demo.troubles import Fact, Troubles

FREE_VISITS = 1
"""How often a member of a group may come for free, by the demo's policy."""


@dataclass(slots=True)
class Findings:
    """Each finding is a sentence; the lists are empty when all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    admitted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    unknown: int = 0
    copies_refused: int = 0
    copies_admitted: int = 0


@dataclass(frozen=True, slots=True)
class Excess:
    """A use that the centre reports as a conflict: the one that stands before it, and what it cost."""

    first_admission_id: str
    cost_fen: int


@dataclass(frozen=True, slots=True)
class CentreBooks:
    """The centre's rows that matter, by admission id; the numbers of ledgers and diaries by box."""

    uses: Mapping[str, Fact]
    outcomes: Mapping[str, frozenset[Outcome]]
    charges: Mapping[str, int]
    conflicts: Mapping[str, Excess]
    quantities: Mapping[str, int]
    ledger_numbers: Mapping[str, Sequence[int]]
    diary_numbers: Mapping[str, Sequence[int]]


def read_witness(path: Path) -> list[Fact]:
    """Return the witness's facts in their order."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]


def read_books(store: Path) -> CentreBooks:
    """Read the centre's database, without any of its code."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as sql:
        sql.row_factory = sqlite3.Row
        outcomes: defaultdict[str, set[Outcome]] = defaultdict(set)
        for row in sql.execute("SELECT admission_id, outcome FROM closings"):
            outcomes[row[0].hex()].add(Outcome(row[1]))
        return CentreBooks(
            uses={row["admission_id"].hex(): dict(row) for row in sql.execute("SELECT * FROM uses")},
            outcomes={name: frozenset(ended) for name, ended in outcomes.items()},
            charges={
                row[0].hex(): row[1] for row in sql.execute("SELECT admission_id, fare_fen FROM charges")
            },
            conflicts={
                row[0].hex(): Excess(row[1].hex(), row[2])
                for row in sql.execute("SELECT admission_id, first_admission_id, cost_fen FROM conflicts")
            },
            quantities={
                row[0].hex(): row[1] for row in sql.execute("SELECT key, quantity - refunded FROM tickets")
            },
            ledger_numbers=_by_box(sql.execute("SELECT box_id, seq_no FROM ledger")),
            diary_numbers=_by_box(sql.execute("SELECT box_id, number FROM diary")),
        )


def _by_box(rows: Iterable[tuple[str, int]]) -> Mapping[str, Sequence[int]]:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for box_id, number in rows:
        numbers[box_id].append(number)
    return numbers


def audit(guests: Sequence[Guest], facts: Sequence[Fact], books: CentreBooks, troubles: Troubles) -> Findings:
    """Compare what happened with what is told of it, and with what had to happen in spite of the troubles."""
    by_guest = defaultdict(list)
    for fact in facts:
        by_guest[fact.get("visitor")].append(fact)
    visits = {guest.id: Visit(guest, by_guest[guest.id]) for guest in guests}
    findings = Findings()
    for visit in visits.values():
        _judge_verdict(visit, list(_before(visit, visits)), troubles, findings)
    _judge_admissions(facts, books, troubles, findings)
    _judge_rights(guests, facts, books, findings)
    _judge_unseen_uses(facts, books, troubles, findings)
    _judge_counts(books, findings)
    _judge_conflicts(books, findings)
    _judge_records(facts, books, findings)
    return findings


@dataclass(frozen=True, slots=True)
class Visit:
    """A guest and what the witness saw of them."""

    guest: Guest
    facts: Sequence[Fact]


def _before(visit: Visit, visits: Mapping[str, Visit]) -> Iterator[Visit]:
    """Yield the earlier visits of the same story, the last one first."""
    while visit.guest.follows:
        visit = visits[visit.guest.follows]
        yield visit


def _judge_verdict(visit: Visit, earlier: Sequence[Visit], troubles: Troubles, findings: Findings) -> None:
    guest = visit.guest
    given = [(fact["verdict"], fact["reason"]) for fact in visit.facts if fact["what"] == "verdict"]
    allowed = _allowed(visit, earlier, troubles)
    findings.wrong += [
        f"{guest.id} ({guest.kind}) at lane {guest.lane} got {pair}, not {sorted(allowed)}"
        for pair in given
        if pair not in allowed
    ]
    if not given:
        findings.wrong.append(f"{guest.id} ({guest.kind}) at lane {guest.lane} got no answer")
        return
    verdict, reason = given[-1]
    findings.resumed += reason == Reason.RESUMED
    if guest.kind == "copy_elsewhere":
        findings.copies_refused += verdict == Verdict.DENY
        findings.copies_admitted += verdict == Verdict.ADMIT
    if verdict == Verdict.ADMIT:
        findings.admitted += 1
    else:
        findings.refused[reason] += 1


def _allowed(visit: Visit, earlier: Sequence[Visit], troubles: Troubles) -> set[tuple[str, str]]:
    """Return the answers that the visitor may get, after the earlier visits of the same story."""
    allowed = set(visit.guest.expected)
    if troubles.is_in_flight(visit.facts) and visit.guest.expected[0][0] == Verdict.ADMIT:
        allowed.add((Verdict.ADMIT.value, Reason.RESUMED.value))
    if earlier and troubles.is_in_flight(earlier[0].facts):
        # The visit before ended unobserved: held as used, or gone on with.
        allowed |= {("ADMIT", "RESUMED"), ("DENY", "ALREADY_USED")}
    for before in earlier:
        if troubles.could_not_know(before.facts, visit.facts):
            # Admitted as the visit before was; or how that ended is not known here.
            allowed |= {*before.guest.expected, ("DENY", "ALREADY_USED")}
    if any(_went_on(later, before) for later, before in pairwise(earlier)):
        # Two visits shared one admission, as the passage of the first was not seen: one use fewer is spent.
        allowed |= set(earlier[0].guest.expected)
    return allowed


def _went_on(visit: Visit, before: Visit) -> bool:
    """Whether the gate took the visit for the one before, which an agent's death had left open."""
    opened, opened_before = (
        {fact["admission_id"] for fact in seen.facts if fact["what"] == "released"}
        for seen in (visit, before)
    )
    return bool(opened & opened_before)


def _judge_admissions(
    facts: Sequence[Fact], books: CentreBooks, troubles: Troubles, findings: Findings
) -> None:
    """Everything the barrier did is at the centre, and ended there as it ended at the gate."""
    passed = {fact["admission_id"] for fact in facts if fact["what"] == "passed"}
    for fact in facts:
        admission_id = str(fact.get("admission_id", ""))
        match fact["what"]:
            case "released" if admission_id not in books.uses:
                findings.lost.append(f"{_who(fact)} was let in as {admission_id}, which the centre lacks")
            case "passed":
                _judge_end(fact, Outcome.PASSED, books, troubles, findings)
                findings.lost += _missing_charge(admission_id, fact, books)
            case "closed" if admission_id in books.uses and admission_id not in passed:
                _judge_end(fact, Outcome.ABANDONED, books, troubles, findings)


def _judge_end(
    fact: Fact, expected: Outcome, books: CentreBooks, troubles: Troubles, findings: Findings
) -> None:
    """How an admission ended is known, or was not observed because of a kill and says so."""
    ended = books.outcomes.get(fact["admission_id"], frozenset())
    if ended & {expected, Outcome.PASSED}:  # a passage that nobody saw is a finding of its own
        return
    if Outcome.UNKNOWN in ended and troubles.is_near(fact):
        findings.unknown += 1
        return
    names = sorted(outcome.name for outcome in ended)
    findings.lost.append(
        f"{_who(fact)}: {fact['admission_id']} ended as {expected.name}; the centre has {names}"
    )


def _missing_charge(admission_id: str, fact: Fact, books: CentreBooks) -> Iterator[str]:
    use = books.uses.get(admission_id)
    has_passed = Outcome.PASSED in books.outcomes.get(admission_id, frozenset())
    if use and has_passed and use["basis"] == Basis.CREDIT_LINE and admission_id not in books.charges:
        yield f"{_who(fact)} passed on credit as {admission_id} and was not charged"


def _judge_rights(
    guests: Sequence[Guest], facts: Sequence[Fact], books: CentreBooks, findings: Findings
) -> None:
    """What was spent is what the visitor at the barrier had shown, and what was charged is its fare."""
    keys = {guest.id: guest.key for guest in guests}
    for fact in facts:
        use = books.uses.get(fact.get("admission_id", ""))
        key = keys.get(fact.get("visitor", ""))
        if fact["what"] == "released" and use and key and use["key"].hex() != key:
            findings.wrong.append(f"{_who(fact)} was let in on another's right {use['key'].hex()}")
    for admission_id, fare_fen in books.charges.items():
        use = books.uses.get(admission_id)
        due_fen = use["fare_fen"] if use and use["basis"] in (Basis.CREDIT_LINE, Basis.CREDIT_ORDER) else 0
        if fare_fen != due_fen:
            findings.doubled.append(f"{admission_id} was charged {fare_fen} fen, and {due_fen} are due")


def _judge_unseen_uses(
    facts: Sequence[Fact], books: CentreBooks, troubles: Troubles, findings: Findings
) -> None:
    """A use that no barrier saw can only be one that a kill interrupted, and it must say so."""
    released = {fact["admission_id"] for fact in facts if fact["what"] == "released"}
    passed = {fact["admission_id"] for fact in facts if fact["what"] == "passed"}
    for admission_id in books.uses.keys() - released:
        kills = troubles.kills_of(books.uses[admission_id]["box_id"])
        if not (kills and Outcome.UNKNOWN in books.outcomes.get(admission_id, frozenset())):
            findings.doubled.append(f"use {admission_id} at the centre, and no barrier opened for it")
    findings.doubled += [
        f"{admission_id} passed at the centre, and nobody at the gate"
        for admission_id, ended in books.outcomes.items()
        if Outcome.PASSED in ended and admission_id not in passed
    ]
    findings.doubled += [
        f"{admission_id} was charged, and nobody passed" for admission_id in books.charges.keys() - passed
    ]


def _judge_counts(books: CentreBooks, findings: Findings) -> None:
    """No right is used more often than it was given, but for what is reported as a conflict."""
    used: Counter[tuple[Basis, str, str]] = Counter()
    for admission_id, use in books.uses.items():
        held = is_held(books.outcomes.get(admission_id, frozenset()))
        if held and admission_id not in books.conflicts:
            used[Basis(use["basis"]), use["key"].hex(), use["scope"]] += use["quantity"]
    for (basis, key, scope), count in used.items():
        quantity = {Basis.TICKET: books.quantities.get(key), Basis.FREE_VISIT: FREE_VISITS}.get(basis)
        if quantity is not None and count > quantity:
            findings.doubled.append(
                f"{basis.name} {key} {scope} was used {count} times of {quantity}, and no conflict is reported"
            )


def _judge_conflicts(books: CentreBooks, findings: Findings) -> None:
    """A conflict names both gates and its cost, or it is no report."""
    for admission_id, excess in books.conflicts.items():
        gates = [books.uses.get(name) for name in (admission_id, excess.first_admission_id)]
        if not (all(use and use["box_id"] and use["lane_id"] for use in gates) and excess.cost_fen > 0):
            findings.doubled.append(f"the conflict about {admission_id} lacks a gate or its cost")


def _judge_records(facts: Sequence[Fact], books: CentreBooks, findings: Findings) -> None:
    """Every record number that was shown can be found at the centre, and no ledger has a gap."""
    for box_id, ledger in books.ledger_numbers.items():
        counts = Counter(ledger)
        findings.doubled += [
            f"ledger entry {box_id}-{number} counts {n} times" for number, n in counts.items() if n > 1
        ]
        if missing := set(range(1, max(counts) + 1)) - counts.keys():
            findings.lost.append(f"the centre's ledger of {box_id} lacks {sorted(missing)}")
    records = {f"{box_id}-{n}" for box_id, numbers in books.ledger_numbers.items() for n in numbers}
    records |= {f"{box_id}-D{n}" for box_id, numbers in books.diary_numbers.items() for n in numbers}
    findings.lost += [
        f"record {fact['record']} of {_who(fact)} is not at the centre"
        for fact in facts
        if fact["what"] == "verdict" and fact["record"] and fact["record"] not in records
    ]


def _who(fact: Fact) -> str:
    """Who stood there, if anyone did."""
    return str(fact.get("visitor", "nobody"))
