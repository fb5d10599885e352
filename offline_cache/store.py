"""Facts about a credential, and the record of what was decided: one transaction from the one to the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from admission.answers import Answer, Decision, Spend
from admission.codes import Credential, CreditCode, DocumentCode, Rejected, TicketCode
from admission.events import Admitted, ClockNoted, Closed, EpochOpened, Incident, Overridden, Resumed
from admission.facts import Attempt, Direction, Exposure, Facts, ListInfo
from admission.reasons import Reason
from admission.tickets import Basis, Closing, History, Outcome, Risk, Use
from offline_cache.capacity import capacity_facts, note_closing, note_use
from offline_cache.database import Database
from offline_cache.journal import append, get_state, note_refusal, set_state
from offline_cache.lists import ListShelf
from offline_cache.opening import StoreFullError
from offline_cache.overlay import changes_as_of_s, is_withdrawn
from offline_cache.rights import find_clearances, find_holders, find_product, find_subject, find_ticket
from offline_cache.showings import note_showing, shown_before
from offline_cache.space import Room

_CLOSED_AS = "SELECT 1 FROM closings c WHERE c.admission_id = u.admission_id AND c.outcome"
# What `admission.tickets.is_held` says, for sums over many uses.
_HELD = f"""(
    EXISTS ({_CLOSED_AS} IN ({Outcome.PASSED:d}, {Outcome.TAILGATED:d}, {Outcome.FORCED:d}))
    OR NOT EXISTS ({_CLOSED_AS} = {Outcome.RELEASED:d})
    AND (EXISTS ({_CLOSED_AS} = {Outcome.UNKNOWN:d}) OR NOT EXISTS ({_CLOSED_AS} = {Outcome.ABANDONED:d}))
)"""


class Store:
    """What the lanes know and write."""

    def __init__(
        self,
        database: Database,
        lists: ListShelf,
        *,
        box_id: str,
        site_id: str,
        new_id: Callable[[], bytes],
        room: Callable[[], Room] = lambda: Room.AMPLE,
    ) -> None:
        self._room = room
        self._database = database
        self._lists = lists
        self._box_id = box_id
        self._site_id = site_id
        self._new_id = new_id

    async def open_epoch(self, epoch: bytes, at_ms: int) -> int:
        """Begin this process's part of the ledger; return how many admissions of the last one ended unobserved."""
        return await self._database.write(lambda sql: self._open_epoch(sql, epoch, at_ms))

    async def answer(self, attempt: Attempt, judge: Callable[[Facts], Decision]) -> Answer:
        """Return the recorded answer to `attempt`: facts, decision and record are one committed transaction.

        StoreFullError when there is no room for it; whoever goes out is let out for as long as it can be recorded.
        """
        if self._room() is Room.NONE and attempt.lane.direction is Direction.ENTRY:
            raise StoreFullError("what room is left is for those who are let in already")
        return await self._database.write(lambda sql: self._answer(sql, attempt, judge))

    async def facts(self, attempt: Attempt) -> Facts:
        """Return what is known about an attempt, and record nothing."""
        return await self._database.read(lambda sql: self._known(sql, attempt))

    async def close_admission(self, admission_id: bytes, outcome: Outcome, at_ms: int) -> None:
        """Record how an admission ended; saying the same again changes nothing. Returns after COMMIT."""
        await self._database.write(lambda sql: self._close(sql, admission_id, outcome, at_ms))

    async def note_clock(self, note: ClockNoted, at_ms: int) -> None:
        """Record what the clock is worth from here on; returns after COMMIT."""
        await self._database.write(lambda sql: append(sql, at_ms, note))

    async def record_incident(self, lane_id: str, what: Outcome, at_ms: int) -> None:
        """Record that a lane opened, or someone went through, with no admission behind it. Returns after COMMIT."""
        await self._database.write(lambda sql: append(sql, at_ms, Incident(lane_id, what)))

    def _open_epoch(self, sql: sqlite3.Connection, epoch: bytes, at_ms: int) -> int:
        previous = get_state(sql, "epoch")
        append(
            sql,
            at_ms,
            EpochOpened(self._box_id, self._site_id, epoch, previous if isinstance(previous, bytes) else b""),
        )
        set_state(sql, "epoch", epoch)
        orphans = sql.execute("SELECT admission_id FROM open_admissions").fetchall()
        for (admission_id,) in orphans:
            self._close(sql, admission_id, Outcome.UNKNOWN, at_ms)
        return len(orphans)

    def _answer(
        self, sql: sqlite3.Connection, attempt: Attempt, judge: Callable[[Facts], Decision]
    ) -> Answer:
        facts = self._known(sql, attempt)
        decision = judge(facts)
        if decision.resumed is not None:
            return self._record_resumed(sql, attempt, decision, decision.resumed.admission_id)
        if decision.spend is not None or decision.reason is Reason.NOT_LIVE:
            note_showing(sql, attempt)
        if decision.spend is not None:
            if facts.capacity is not None:
                note_use(
                    sql, self._box_id, attempt.day_start_ms, decision.spend.basis, decision.spend.persons
                )
            return self._record_use(sql, attempt, decision, decision.spend)
        refusal = note_refusal(
            sql,
            attempt.at_ms,
            attempt.lane_id,
            decision.reason,
            _key(attempt),
            decision.detail,
            is_kept=self._room() is Room.AMPLE,
        )
        return Answer(decision, f"{self._box_id}-D{refusal.number}")

    def _known(self, sql: sqlite3.Connection, attempt: Attempt) -> Facts:
        """Return the facts, with clearances when they are asked for: nothing is looked up otherwise."""
        facts = self._facts(sql, attempt)
        if before := shown_before(sql, attempt):
            facts = replace(facts, shown_before=before)
        if attempt.is_follower or not attempt.is_time_sure:
            facts = replace(facts, is_follower=attempt.is_follower, is_time_sure=attempt.is_time_sure)
        if not attempt.asks_clearance or isinstance(attempt.credential, Rejected):
            return facts
        keys = {attempt.credential.key, facts.subject_key, *(key for key, _ in facts.held)} - {b""}
        found = find_clearances(sql, self._lists.in_use, tuple(sorted(keys)))
        return replace(facts, clearances=found)

    def _facts(self, sql: sqlite3.Connection, attempt: Attempt) -> Facts:
        current = self._lists.in_use
        info = current.info.with_changes(changes_as_of_s(sql)) if current else None
        if isinstance(attempt.credential, Rejected):
            return Facts(
                self._site_id,
                attempt.lane_id,
                info,
                box_id=self._box_id,
                lane=attempt.lane,
                capacity=capacity_facts(sql, self._box_id, attempt.day_start_ms),
                persons=attempt.persons,
            )
        credential = attempt.credential
        history = _history(sql, credential.key, current.watermarks if current else {})
        if isinstance(credential, DocumentCode):
            return self._document_facts(sql, attempt, credential, info, history)
        if isinstance(credential, CreditCode):
            return Facts(
                self._site_id,
                attempt.lane_id,
                info,
                subject=find_subject(sql, current, credential.key, history) if current else None,
                history=history,
                exposure=self._exposure(sql, attempt.day_start_ms),
                box_id=self._box_id,
                lane=attempt.lane,
                is_key_withdrawn=is_withdrawn(sql, credential.key_id),
                capacity=capacity_facts(sql, self._box_id, attempt.day_start_ms),
                persons=attempt.persons,
            )
        ticket, history = find_ticket(sql, current, credential.key, history)
        merchant = credential.merchant if isinstance(credential, TicketCode) else b""
        return Facts(
            self._site_id,
            attempt.lane_id,
            info,
            product=find_product(sql, current, ticket.product if ticket else _product_of(credential)),
            ticket=ticket,
            history=history,
            exposure=self._exposure(sql, attempt.day_start_ms) if ticket is None else Exposure(),
            box_id=self._box_id,
            lane=attempt.lane,
            is_key_withdrawn=isinstance(credential, TicketCode) and is_withdrawn(sql, credential.key_id),
            capacity=capacity_facts(sql, self._box_id, attempt.day_start_ms),
            persons=attempt.persons,
            merchant=find_subject(sql, current, merchant, History()) if current and merchant else None,
        )

    def _document_facts(
        self,
        sql: sqlite3.Connection,
        attempt: Attempt,
        code: DocumentCode,
        info: ListInfo | None,
        own: History,
    ) -> Facts:
        """Return what is known of a document: its holder's rights, and each ticket bought on it.

        What was used by the document itself, its exits above all, belongs to the history of all of them.
        """
        current = self._lists.in_use
        subject_key, ticket_keys = find_holders(sql, current, code.key)
        histories = {key: _history(sql, key, own.watermarks) for key in (subject_key, *ticket_keys) if key}
        history = own.with_more(histories[subject_key]) if subject_key else own
        whole = Facts(
            self._site_id,
            attempt.lane_id,
            info,
            subject=find_subject(sql, current, subject_key, history) if current and subject_key else None,
            history=history,
            exposure=self._exposure(sql, attempt.day_start_ms),
            box_id=self._box_id,
            lane=attempt.lane,
            capacity=capacity_facts(sql, self._box_id, attempt.day_start_ms),
            persons=attempt.persons,
            subject_key=subject_key,
            born=code.born,
        )
        held = []
        for key in ticket_keys:
            ticket, counted = find_ticket(sql, current, key, own.with_more(histories[key]))
            if ticket is not None:
                product = find_product(sql, current, ticket.product)
                held.append((key, replace(whole, ticket=ticket, product=product, history=counted)))
        held.sort(key=lambda one: (one[1].ticket.valid_until_s if one[1].ticket else 0, one[0]))
        return replace(whole, held=tuple(held))

    def _exposure(self, sql: sqlite3.Connection, since_ms: int) -> Exposure:
        """Return what this box has risked since `since_ms` and not got back; neighbours have limits of their own."""
        # By its own choice SQLite would go through all that the box ever let in.
        rows = sql.execute(
            "SELECT risk, SUM(quantity), SUM(fare_fen) FROM uses u INDEXED BY uses_at_risk"  # noqa: S608 - a constant
            f" WHERE risk > 0 AND at_ms >= ? AND box_id = ? AND {_HELD} GROUP BY risk",
            (since_ms, self._box_id),
        )
        sums = {Risk(risk): (quantity, fare_fen) for risk, quantity, fare_fen in rows}
        return Exposure(
            unlisted=sums.get(Risk.UNLISTED, (0, 0))[0],
            bootstrap=sums.get(Risk.BOOTSTRAP, (0, 0))[0],
            credit_fen=sums.get(Risk.CREDIT, (0, 0))[1],
        )

    def _record_use(
        self, sql: sqlite3.Connection, attempt: Attempt, decision: Decision, spend: Spend
    ) -> Answer:
        admission_id = self._new_id()
        info = self._lists.info
        event = Admitted(
            admission_id=admission_id,
            key=spend.key,
            basis=spend.basis,
            scope=spend.scope,
            lane_id=attempt.lane_id,
            quantity=spend.quantity,
            fare_fen=spend.fare_fen,
            risk=spend.risk,
            keep_until_s=spend.keep_until_s,
            list_version=info.version if info else 0,
            policy_version=attempt.policy_version,
            granted_by=decision.granted_by,
            companions=spend.companions,
        )
        seq_no = append(sql, attempt.at_ms, event).seq_no
        insert_use(sql, self._box_id, seq_no, attempt.at_ms, event)
        sql.execute("INSERT INTO open_admissions VALUES (?)", (admission_id,))
        if (act := decision.act) is not None:
            said = Overridden(admission_id, act.refused_record, act.staff_id, act.role, act.code)
            append(sql, attempt.at_ms, said)
        return Answer(decision, f"{self._box_id}-{seq_no}", admission_id)

    def _record_resumed(
        self, sql: sqlite3.Connection, attempt: Attempt, decision: Decision, admission_id: bytes
    ) -> Answer:
        seq_no = append(sql, attempt.at_ms, Resumed(admission_id, attempt.lane_id)).seq_no
        sql.execute("INSERT OR IGNORE INTO open_admissions VALUES (?)", (admission_id,))
        return Answer(decision, f"{self._box_id}-{seq_no}", admission_id)

    def _close(self, sql: sqlite3.Connection, admission_id: bytes, outcome: Outcome, at_ms: int) -> None:
        sql.execute("DELETE FROM open_admissions WHERE admission_id = ?", (admission_id,))
        rows = sql.execute("SELECT outcome FROM closings WHERE admission_id = ?", (admission_id,)).fetchall()
        before = frozenset(Outcome(said) for (said,) in rows)
        if outcome not in before:
            seq_no = append(sql, at_ms, Closed(admission_id, outcome)).seq_no
            sql.execute(
                "INSERT INTO closings VALUES (?, ?, ?, ?, ?)",
                (admission_id, outcome, self._box_id, seq_no, at_ms),
            )
            note_closing(sql, admission_id, before)


def _key(attempt: Attempt) -> bytes:
    return b"" if isinstance(attempt.credential, Rejected) else attempt.credential.key


def _product_of(credential: Credential) -> str:
    return credential.product if isinstance(credential, TicketCode) else ""


def _history(sql: sqlite3.Connection, key: bytes, watermarks: Mapping[str, int]) -> History:
    """Return all that this box knows of the uses of `key`."""
    uses = sql.execute(
        "SELECT admission_id, box_id, seq_no, basis, scope, lane_id, quantity, fare_fen, at_ms"
        " FROM uses WHERE key = ?",
        (key,),
    ).fetchall()
    if not uses:
        return History(watermarks=watermarks)
    closings = sql.execute(
        "SELECT c.admission_id, c.outcome, c.box_id, c.seq_no, c.at_ms FROM closings c"
        " JOIN uses u ON u.admission_id = c.admission_id WHERE u.key = ?",
        (key,),
    ).fetchall()
    return History(
        tuple(_use(row) for row in uses),
        tuple(_closing(row) for row in closings),
        watermarks,
    )


def _use(row: tuple[Any, ...]) -> Use:
    admission_id, box_id, seq_no, basis, *rest = row
    return Use(admission_id, box_id, seq_no, Basis(basis), *rest)


def _closing(row: tuple[Any, ...]) -> Closing:
    admission_id, outcome, *rest = row
    return Closing(admission_id, Outcome(outcome), *rest)


def insert_use(sql: sqlite3.Connection, box_id: str, seq_no: int, at_ms: int, event: Admitted) -> None:
    """Add a use of this box or a neighbour to the set, within the caller's transaction."""
    sql.execute(
        "INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.admission_id,
            box_id,
            seq_no,
            event.key,
            event.basis,
            event.scope,
            event.lane_id,
            event.quantity,
            event.fare_fen,
            event.risk,
            at_ms,
            event.keep_until_s,
            event.companions,
        ),
    )
