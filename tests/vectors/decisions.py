"""Our own cases as the engine's arguments, and as what the centre hears of them: docs/VECTORS.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from admission.answers import Spend
from admission.capacity import CapacityFacts, CapacityLimits, Headcount
from admission.clearance import Clearance, Colour
from admission.codes import (
    Credential,
    CreditCode,
    DocumentCode,
    ExternalCode,
    ShortCode,
    TicketCode,
    Validity,
)
from admission.documents import DocumentKind
from admission.entitlements import CreditLine, CreditOrder, Membership, SubjectRights
from admission.facts import Direction, Exposure, Facts, LaneClass, LaneTraits, ListInfo
from admission.holders import Showing, ShownBefore
from admission.policy import Policy
from admission.terms import PLAIN, check_terms, read_terms
from admission.tickets import Basis, Closing, History, Outcome, Product, Ticket, Use, is_held, read_status
from central.judging import FoldedUse, Right
from config.policy_file import read_policy

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parent / "decisions.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = DOCUMENT["cases"]
KEY = bytes(range(16))
HOLDER = bytes(33)
NOON = "2026-05-01T12:00:00+08:00"
DAY = ("2026-05-01T00:00:00+08:00", "2026-05-02T00:00:00+08:00")


@cache
def policy(name: str) -> Policy:
    """One of the document's policies."""
    return read_policy("\n".join(DOCUMENT["policies"][name]))


@dataclass(frozen=True, slots=True)
class Case:
    """One case, read."""

    said: dict[str, Any]

    @property
    def at(self) -> datetime:
        """When the visitor stands at the gate."""
        return datetime.fromisoformat(self.said.get("at", NOON))

    @property
    def now_ms(self) -> int:
        """The same, UTC milliseconds."""
        return _seconds(self.at) * 1000

    @property
    def policy(self) -> Policy:
        """By which it is decided."""
        return policy(self.said.get("policy", "china"))

    @property
    def site_id(self) -> str:
        """Where it happens."""
        return str(self.said.get("site", "fairy"))

    def credential(self) -> Credential:
        """What the visitor shows."""
        match self.said.get("code", "ticket"):
            case "ticket":
                issued = self.said.get("issued", (self.at - timedelta(minutes=10)).isoformat())
                return TicketCode(
                    KEY,
                    "DAY",
                    _validity(self.said.get("validity", DAY), issued),
                    showing=self._showing(),
                    merchant=KEY if "merchant" in self.said else b"",
                )
            case "credit":
                hour = timedelta(hours=1)
                around = ((self.at - hour).isoformat(), (self.at + hour).isoformat())
                times = self.said.get("code_validity", around)
                return CreditCode(KEY, _validity(times, times[0]), showing=self._showing())
            case "document":
                return DocumentCode(KEY, DocumentKind.RESIDENT_ID, self._born())
            case "external":
                return ExternalCode(KEY, "ota")
            case _:
                return ShortCode(KEY)

    def facts(self) -> Facts:
        """What the box knows."""
        lane = self.said.get("lane", {})
        found = Facts(
            self.site_id,
            "1",
            self._list(),
            product=self._product(),
            ticket=self._ticket(),
            subject=self._subject(),
            history=self._history(),
            exposure=Exposure(**self.said.get("exposure", {})),
            box_id="box-1",
            is_key_withdrawn=self.said.get("key_withdrawn", False),
            lane=LaneTraits(
                LaneClass(lane.get("class", "ordinary")),
                Direction(lane.get("direction", "entry")),
                lane.get("service", "admission"),
            ),
            capacity=self._capacity(),
            persons=self.said.get("persons", 1),
            clearances=tuple(
                Clearance(one["provider"], Colour(one["colour"]), _at_s(one["until"]))
                for one in self.said.get("clearances", ())
            ),
            shown_before=self._shown_before(),
            merchant=self._merchant(),
        )
        if self.said.get("code") != "document":
            return found
        held = ((KEY, replace(found, born=self._born())),) if found.ticket else ()
        return replace(found, product=None, ticket=None, subject_key=KEY, born=self._born(), held=held)

    def folded_uses(self) -> list[FoldedUse]:
        """The uses that the centre has of the key: those of the case, and the others that the list counts."""
        history = self._history()
        counted = self._counted()
        for use in history.uses:
            if _was_counted(use, history):
                counted.remove((use.basis, use.scope))
        told = [_folded(use, self.site_id, history.outcomes(use)) for use in history.uses]
        return told + [self._passed(number, basis, scope) for number, (basis, scope) in enumerate(counted)]

    def folded_spend(self, spend: Spend) -> FoldedUse:
        """The use that an admission now would be."""
        return FoldedUse(
            b"now".ljust(16),
            spend.key,
            spend.basis,
            spend.scope,
            self.site_id,
            spend.quantity,
            spend.fare_fen,
            self.now_ms,
            ((Outcome.PASSED, self.now_ms),),
        )

    def right(self) -> Right:
        """What the centre has sold or granted under the key."""
        ticket, subject, product = self._ticket(), self._subject(), self._product()
        line = subject.credit_line if subject else None
        return Right(
            ticket.quantity if ticket else None,
            ticket.refunded if ticket else 0,
            line.limit_fen - line.outstanding_fen if line else None,
            product.terms if product else PLAIN,
            {order.order_id: order.quantity for order in subject.credit_orders} if subject else {},
        )

    def _counted(self) -> list[tuple[Basis, str]]:
        """The entries in the list's counters, one by one."""
        ticket, subject = self._ticket(), self._subject()
        found = [(Basis.TICKET, "")] * (ticket.used if ticket else 0)
        for name, used in (ticket.counters if ticket else {}).items():
            if name.startswith("service:"):
                found += [(Basis.TICKET, name.removeprefix("service:"))] * used
        for scope, used in (subject.free_visits_used if subject else {}).items():
            found += [(Basis.FREE_VISIT, scope)] * used
        for order in subject.credit_orders if subject else ():
            found += [(Basis.CREDIT_ORDER, order.order_id)] * order.used
        return found

    def _passed(self, number: int, basis: Basis, scope: str) -> FoldedUse:
        admission_id = b"counted" + number.to_bytes(9)
        return FoldedUse(
            admission_id, KEY, basis, scope, self.site_id, 1, 0, number, ((Outcome.PASSED, number),)
        )

    def _merchant(self) -> SubjectRights | None:
        said = self.said.get("merchant")
        return None if said is None else SubjectRights(_memberships(said), {}, None)

    def _showing(self) -> Showing | None:
        said = self.said.get("phone")
        if said is None:
            return None
        return Showing(HOLDER, None if said["shown"] is None else _at_s(said["shown"]))

    def _shown_before(self) -> ShownBefore | None:
        said = self.said.get("phone", {}).get("before")
        return None if said is None else ShownBefore(_at_s(said["shown"]), said["ago_ms"])

    def _born(self) -> date | None:
        said = self.said.get("born")
        return None if said is None else date.fromisoformat(said)

    def _list(self) -> ListInfo | None:
        said = self.said.get("list", {})
        if said is None:
            return None
        as_of = said.get("as_of", (self.at - timedelta(hours=1)).isoformat())
        return ListInfo(7, _at_s(as_of), _at_s(said["changes_as_of"]) if "changes_as_of" in said else 0)

    def _product(self) -> Product | None:
        said = self.said.get("product", {})
        if said is None:
            return None
        terms = read_terms(check_terms(json.dumps(said.get("terms", {}))))
        return Product("DAY", "票", "Ticket", frozenset(said.get("sites", [self.site_id])), terms)

    def _ticket(self) -> Ticket | None:
        said = self.said.get("ticket")
        if said is None:
            return None
        return Ticket(
            read_status(said.get("status", "valid")),
            said["product"],
            said.get("quantity", 1),
            said.get("refunded", 0),
            said.get("used", 0),
            _at_s(said["from"]),
            _at_s(said["until"]),
            said.get("counters", {}),
        )

    def _subject(self) -> SubjectRights | None:
        if self.said.get("code") not in ("credit", "document"):
            return None
        said = self.said.get("subject", {})
        line = said.get("credit_line")
        return SubjectRights(
            _memberships(said),
            said.get("free_visits_used", {}),
            CreditLine(
                line["limit_fen"], line["per_visit_fen"], line["outstanding_fen"], _at_s(line["until"])
            )
            if line
            else None,
            tuple(_order(one) for one in said.get("credit_orders", ())),
        )

    def _history(self) -> History:
        uses, closings = [], []
        for number, said in enumerate(self.said.get("uses", ())):
            seq_no = said.get("seq", number * 10 + 1)
            use = Use(
                number.to_bytes(16),
                said.get("box", "box-1"),
                seq_no,
                Basis[said["basis"].upper()],
                said.get("scope", ""),
                said.get("lane", "1"),
                said.get("quantity", 1),
                said.get("fare_fen", 0),
                _at_s(said["at"]) * 1000,
            )
            uses.append(use)
            ended_seq = said.get("ended_seq", seq_no + 1)
            closings += [
                Closing(use.admission_id, Outcome[word.upper()], use.box_id, ended_seq, use.at_ms)
                for word in said.get("ended", ["passed"])
            ]
        return History(tuple(uses), tuple(closings), self.said.get("watermarks", {}))

    def _capacity(self) -> CapacityFacts | None:
        said = self.said.get("capacity")
        if said is None:
            return None
        return CapacityFacts(
            CapacityLimits(said["max_inside"], said["max_per_day"]),
            Headcount(said["inside"], said["today"]),
            Headcount(said["share_inside"], said["share_today"]),
        )


def _memberships(said: dict[str, Any]) -> tuple[Membership, ...]:
    return tuple(
        Membership(one["group"], _at_s(one["from"]), _at_s(one["until"])) for one in said.get("groups", ())
    )


def _order(said: dict[str, Any]) -> CreditOrder:
    return CreditOrder(
        said["order"],
        said["site"],
        said["fare_fen"],
        said["quantity"],
        said["used"],
        _at_s(said["from"]),
        _at_s(said["until"]),
    )


def _was_counted(use: Use, history: History) -> bool:
    """Whether the list counts the use, by what its box had told when the list was made."""
    told_up_to = history.watermarks.get(use.box_id, 0)
    closings = [one for one in history.closings if one.admission_id == use.admission_id]
    return use.seq_no <= told_up_to and is_held(one.outcome for one in closings if one.seq_no <= told_up_to)


def _folded(use: Use, site_id: str, outcomes: frozenset[Outcome]) -> FoldedUse:
    closed = tuple((outcome, use.at_ms) for outcome in sorted(outcomes))
    return FoldedUse(
        use.admission_id, KEY, use.basis, use.scope, site_id, use.quantity, use.fare_fen, use.at_ms, closed
    )


def _validity(times: Any, issued: str) -> Validity:
    return Validity(_at_s(times[0]), _at_s(times[1]), _at_s(issued))


def _at_s(text: str) -> int:
    return _seconds(datetime.fromisoformat(text))


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
