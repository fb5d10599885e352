"""Another gate's world put to our engine: its events, products, check-in lists, tickets and rules, from its fixtures.

One of its check-in lists is a gate of ours: what it lets in (products, pending orders), how often, and by which rule
becomes the terms of the product as that gate sees it. Its check-ins on the list are the uses we are told of. What
the peer fills into rules from an event (its dates) is filled in here; everything else is decided by `decide`.
"""

from __future__ import annotations

import base64
import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from admission.answers import Decision
from admission.codes import ExternalCode, TicketCode, Validity, ticket_key
from admission.decision import decide
from admission.facts import Direction, Facts, LaneTraits, ListInfo
from admission.policy import CreditLimits, OfflineLimits, Policy, Site
from admission.reasons import Reason, Verdict
from admission.terms import Proof, Reentry, Terms
from admission.tickets import Basis, Closing, History, Outcome, Product, Ticket, TicketStatus, Use

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall clock where a case does not set one."""
LONG_S = 1 << 40
_ECI = re.compile(r"^\\\d{6}")
RESULTS = {
    Reason.ALREADY_USED: "already_redeemed",
    Reason.UNPAID: "unpaid",
    Reason.REVOKED: "canceled",
    Reason.REFUNDED: "canceled",
    Reason.BLOCKED: "blocked",
    Reason.TOO_EARLY: "invalid_time",
    Reason.EXPIRED: "invalid_time",
    Reason.RULE: "rules",
    Reason.WRONG_SITE: "product",
    Reason.UNKNOWN_PRODUCT: "error",
    Reason.PROOF_NEEDED: "incomplete",
}
"""What the peer calls our reasons; an admission is `ok`, and what it cannot find or believe is `invalid`."""


class UnsupportedError(Exception):
    """The case asks for something that our gate does differently on purpose, or not at all; says why."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One of the peer's check-in lists."""

    event: str
    list_id: str
    rules: Mapping[str, Any]

    def lets_in(self, item: int) -> bool:
        """Return whether the list is for a product."""
        return bool(self.rules["all_products"]) or item in self.rules["limit_products"]


@dataclass(slots=True)
class PeerWorld:
    """A fresh store for one case."""

    fixtures: Mapping[str, Any]
    now_ms: int = round(NOW.timestamp() * 1000)
    admitted: int = 0
    _rules: dict[str, Any] = field(default_factory=dict)
    _questions: list[Mapping[str, Any]] = field(default_factory=list)
    _statuses: dict[str, TicketStatus] = field(default_factory=dict)
    _uses: dict[tuple[str, str], list[Use]] = field(default_factory=lambda: defaultdict(list))
    _number: int = 0

    def __post_init__(self) -> None:
        for ticket in self.fixtures["tickets"]:
            for past in ticket["prior_checkins"]:
                self._note(str(past["list"]), ticket["secret"], _ms(past["datetime"]), past["type"] == "exit")

    def do(self, step: Mapping[str, Any]) -> str | None:
        """Carry out a step; return what our gate says in the peer's words where it is a scan, else None."""
        match step["op"]:
            case "set_now":
                self.now_ms = _ms(step["now"])
            case "set_rules":
                self._rules[str(step["list"])] = step["rules"]
            case "add_question":
                self._questions.append(self.fixtures["questions"][step["question"]])
            case "block":
                self._statuses[step["secret"]] = TicketStatus.BLOCKED
            case "revoke":
                self._statuses[step["secret"]] = TicketStatus.REVOKED
            case "forget_checkins":
                self._uses.clear()
            case "expect_upload_queue_length":
                if self.admitted != step["n"]:
                    return f"{self.admitted} recorded instead of {step['n']}"
            case "scan":
                return self._scan(step)
            case other:
                raise UnsupportedError(f"step {other!r} is not known")
        return None

    def _scan(self, step: Mapping[str, Any]) -> str:
        secret = _ECI.sub("", step["secret"])  # an escape that the peer's reader leaves before the code
        is_exit = step["type"] == "exit"
        if is_exit and step["expect"] != "ok":
            raise UnsupportedError("an exit opens for everyone here: nobody is locked in")
        for event, list_id in step["lists"].items():
            gate = Gate(event, str(list_id), self.fixtures["lists"][str(list_id)])
            found = self._decide(gate, secret, step)
            if found is not None:
                decision, key = found
                return self._result(decision, gate, key, is_exit=is_exit)
        return "invalid"

    def _result(self, decision: Decision, gate: Gate, secret: str, *, is_exit: bool) -> str:
        if decision.verdict is not Verdict.ADMIT:
            return RESULTS.get(decision.reason, "invalid")
        self.admitted += 1
        is_back = decision.spend is not None and decision.spend.basis is Basis.REENTRY
        self._note(gate.list_id, secret, self.now_ms, is_exit, is_back=is_back)
        return "ok"

    def _decide(self, gate: Gate, secret: str, step: Mapping[str, Any]) -> tuple[Decision, str] | None:
        """Return our decision at one list and the secret it is about; None when the list's event has no such code."""
        row = self._row(gate, secret)
        if row is not None:
            return self._decide_listed(gate, row, step), row["secret"]
        signed = _signed(secret, self.fixtures["events"][gate.event]["pretix_sig1_pubkeys_pem"])
        if signed is None:
            return None
        product = self._product(gate, signed.item, signed.fields, step)
        validity = Validity(signed.valid_from or 0, signed.valid_until or LONG_S, issued_s=LONG_S - 1)
        code = TicketCode(ticket_key(secret.encode()), str(signed.item), validity)
        status = self._statuses.get(secret)
        ticket = Ticket(status, str(signed.item), 1, 0, 0, 0, LONG_S) if status else None
        facts = self._facts(gate, secret, step, product, ticket)
        return decide(code, facts, self._policy(gate), self.now_ms), secret

    def _decide_listed(self, gate: Gate, row: Mapping[str, Any], step: Mapping[str, Any]) -> Decision:
        ticket = Ticket(
            self._statuses.get(row["secret"]) or _status(row, gate, step),
            str(row["item"]),
            quantity=1,
            refunded=0,
            used=0,
            valid_from_s=_ms(row["valid_from"]) // 1000 if row["valid_from"] else 0,
            valid_until_s=_ms(row["valid_until"]) // 1000 if row["valid_until"] else LONG_S,
        )
        product = self._product(gate, row["item"], row, step)
        facts = self._facts(gate, row["secret"], step, product, ticket)
        code = ExternalCode(ticket_key(row["secret"].encode()), "peer")
        return decide(code, facts, self._policy(gate), self.now_ms)

    def _row(self, gate: Gate, secret: str) -> Mapping[str, Any] | None:
        """Return the ticket, or the one of its add-ons that the list is for, where the list asks for those."""
        rows: list[Mapping[str, Any]] = [
            row for row in self.fixtures["tickets"] if row["event"] == gate.event
        ]
        row = next((row for row in rows if row["secret"] == secret), None)
        if row is None or gate.lets_in(row["item"]) or not gate.rules["addon_match"]:
            return row
        addons = [one for one in rows if one["addon_to"] == row["position_id"] and gate.lets_in(one["item"])]
        if len(addons) > 1:
            raise UnsupportedError("several add-ons fit, and a scan here is about one ticket")
        return next(iter(addons), row)

    def _product(
        self, gate: Gate, item: int, row: Mapping[str, Any], step: Mapping[str, Any]
    ) -> Product | None:
        known = any(one["id"] == item and one["event"] == gate.event for one in self.fixtures["items"])
        if not known:
            return None
        subevent = gate.rules["subevent"]
        fits = gate.lets_in(item) and (subevent is None or subevent == row.get("subevent"))
        multiple, after_exit = gate.rules["allow_multiple_entries"], gate.rules["allow_entry_after_exit"]
        terms = Terms(
            unlimited=multiple,
            reentry=Reentry.AFTER_EXIT if after_exit and not multiple else Reentry.NONE,
            rule=self._rule(gate, row) or None,
            proof=Proof(zh="问题", en="questions") if self._asks(item, row, step) else None,
        )
        return Product(str(item), "", "", frozenset({gate.event} if fits else ()), terms)

    def _rule(self, gate: Gate, row: Mapping[str, Any]) -> Any:
        """Return the list's rule with what the peer knows of event and ticket, and we do not, filled in."""
        dates = self.fixtures["events"][gate.event]
        if row.get("subevent"):
            dates = self.fixtures["subevents"].get(str(row["subevent"]), dates)
        return _filled(self._rules.get(gate.list_id, gate.rules["rules"]), dates, row)

    def _asks(self, item: int, row: Mapping[str, Any], step: Mapping[str, Any]) -> bool:
        """Return whether a question that is asked at the gate has no answer that it takes."""
        if step["type"] == "exit" or not step.get("allow_questions", True):
            return False
        given = {str(one["question"]): one["answer"] for one in row.get("answers", ())} | step.get(
            "answers", {}
        )
        return any(
            item in question["items"]
            and question["ask_during_checkin"]
            and question["required"]
            and not _takes(question["type"], given.get(str(question["id"]), ""))
            for question in self._questions
        )

    def _facts(
        self, gate: Gate, secret: str, step: Mapping[str, Any], product: Product | None, ticket: Ticket | None
    ) -> Facts:
        uses = tuple(self._uses[gate.list_id, secret])
        closings = tuple(
            Closing(use.admission_id, Outcome.PASSED, "peer", use.seq_no, use.at_ms) for use in uses
        )
        direction = Direction.EXIT if step["type"] == "exit" else Direction.ENTRY
        return Facts(
            gate.event,
            str(step.get("gate", "")),
            ListInfo(version=1, as_of_s=0),
            product,
            ticket,
            history=History(uses, closings),
            lane=LaneTraits(direction=direction),
        )

    def _policy(self, gate: Gate) -> Policy:
        zone = ZoneInfo(self.fixtures["events"][gate.event]["timezone"])
        site = Site(gate.event, "", "", "", state_owned=False, fare_fen=0)
        credit, offline = CreditLimits(0, 0, 0), OfflineLimits(LONG_S, LONG_S)
        return Policy("peer", zone, {gate.event: site}, (), (), credit, offline, resume_within_s=0)

    def _note(self, list_id: str, secret: str, at_ms: int, is_exit: bool, *, is_back: bool = False) -> None:
        self._number += 1
        basis = Basis.EXIT if is_exit else Basis.REENTRY if is_back else Basis.TICKET
        quantity = 1 if basis is Basis.TICKET else 0
        admission_id = self._number.to_bytes(16)
        use = Use(admission_id, "peer", self._number, basis, "", "", quantity, 0, at_ms)
        self._uses[list_id, secret].append(use)


@dataclass(frozen=True, slots=True)
class _Signed:
    """What one of the peer's signed codes says."""

    item: int
    valid_from: int
    valid_until: int
    fields: Mapping[str, Any]


def _signed(secret: str, keys_pem: list[str]) -> _Signed | None:
    """Return what a signed code says when one of the keys signed it, else None."""
    try:
        raw = base64.b64decode(secret[::-1], validate=True)
        version, payload_size, signature_size = struct.unpack_from(">BHH", raw)
    except (ValueError, struct.error):
        return None
    payload, signature = raw[5 : 5 + payload_size], raw[5 + payload_size : 5 + payload_size + signature_size]
    if version != 1 or not any(_verifies(pem, payload, signature) for pem in keys_pem):
        return None
    said = dict(_fields(payload))
    names = {2: "item", 3: "variation", 4: "subevent"}
    row = {name: said.get(number) or None for number, name in names.items()}
    return _Signed(int(said.get(2, 0)), int(said.get(5, 0)), int(said.get(6, 0)), row)


def _verifies(pem: str, payload: bytes, signature: bytes) -> bool:
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, Ed25519PublicKey)
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def _fields(payload: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of the fields of a protobuf message of varints and byte strings."""
    place = 0
    while place < len(payload):
        tag, place = _varint(payload, place)
        value, place = _varint(payload, place)
        if tag & 7 == 2:
            yield tag >> 3, payload[place : place + value]
            place += value
        else:
            yield tag >> 3, value


def _varint(payload: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _status(row: Mapping[str, Any], gate: Gate, step: Mapping[str, Any]) -> TicketStatus:
    if row["blocked"]:
        return TicketStatus.BLOCKED
    if row["order_status"] in ("canceled", "expired"):
        return TicketStatus.REVOKED
    if row["order_status"] == "paid" or row["valid_if_pending"]:
        return TicketStatus.VALID
    # A list that includes pending orders lets staff say so for one of them; by itself it does not.
    may_enter = gate.rules["include_pending"] and not row["require_approval"]
    pending_enters = may_enter and step.get("ignore_unpaid", False)
    return TicketStatus.VALID if pending_enters else TicketStatus.UNPAID


def _filled(rule: Any, dates: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
    match rule:
        case {"buildTime": [("date_from" | "date_to" | "date_admission") as name, *_]}:
            at = dates[name] or (dates["date_from"] if name == "date_admission" else None)
            return {"buildTime": ["custom", at]} if at else None
        case {"var": "variation"} | {"var": ["variation"]}:
            return str(row.get("variation") or "")
        case dict():
            return {name: _filled(part, dates, row) for name, part in rule.items()}
        case list():
            return [_filled(part, dates, row) for part in rule]
    return rule


def _takes(kind: str, answer: str) -> bool:
    """Return whether a question of this kind takes an answer."""
    match kind:
        case "B":
            return answer == "True"
        case "N":
            return bool(re.fullmatch(r"-?\d+(\.\d+)?", answer))
    return bool(answer)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def run_case(case: Mapping[str, Any], fixtures: Mapping[str, Any]) -> list[str]:
    """Return what differed from the peer's expectations, step by step; empty when all is the same."""
    world = PeerWorld(fixtures)
    differences = []
    for number, step in enumerate(case["steps"]):
        got = world.do(step)
        expected = step.get("expect")
        if step["op"] == "scan" and expected == "revoked":
            expected = "canceled"  # one status here
        if got != expected:
            differences.append(f"step {number} ({step['op']}): {got!r} instead of {expected!r}")
    return differences
