"""The only place that admits or denies."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from admission.codes import Credential, CreditCode, ExternalCode, Rejected, TicketCode
from admission.entitlements import CreditLine, SubjectRights
from admission.policy import FreeVisit, Policy, Site
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, History, Outcome, Product, Risk, Ticket, TicketStatus, Use


@dataclass(frozen=True, slots=True)
class ListInfo:
    """The local list: its version, and the moments up to which it knows all tickets (UTC seconds).

    `as_of_s` is the full list's, counters included; `changes_as_of_s` is that of the changes applied to it since, which
    bring tickets but no counters, and 0 when there were none.
    """

    version: int
    as_of_s: int
    changes_as_of_s: int = 0

    @property
    def tickets_as_of_s(self) -> int:
        """The moment up to which all tickets are known, one way or the other."""
        return max(self.as_of_s, self.changes_as_of_s)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What this box has risked since the local day began."""

    unlisted: int = 0
    bootstrap: int = 0
    credit_fen: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one credential at one lane; `current_list` is None when the box has no list at all.

    `box_id` is whose lane it is: neighbours may have lanes of the same name. None where no neighbours are heard.
    `is_key_withdrawn` says that the key which signed the credential is no longer trusted.
    """

    site_id: str
    lane_id: str
    current_list: ListInfo | None
    product: Product | None = None
    ticket: Ticket | None = None
    subject: SubjectRights | None = None
    history: History = field(default_factory=History)
    exposure: Exposure = field(default_factory=Exposure)
    box_id: str | None = None
    is_key_withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Spend:
    """The right that an admission uses; the use is kept at least until `keep_until_s`."""

    key: bytes
    basis: Basis
    keep_until_s: int
    scope: str = ""
    quantity: int = 1
    fare_fen: int = 0
    risk: Risk = Risk.NONE


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a visitor.

    ADMIT carries either `spend`, a right to be used, or `resumed`, the use whose admission goes on. `unspent` names
    what would have admitted too and was left for another time.
    """

    reason: Reason
    spend: Spend | None = None
    resumed: Use | None = None
    unspent: tuple[Basis, ...] = ()
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the lane does."""
        return self.reason.verdict


@dataclass(frozen=True, slots=True)
class Attempt:
    """A credential presented at a lane at `at_ms` (UTC), on the local day that began at `day_start_ms`."""

    credential: Credential | Rejected
    lane_id: str
    at_ms: int
    day_start_ms: int
    policy_version: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision that has been recorded, under the number `record`; `admission_id` stands with every ADMIT."""

    decision: Decision
    record: str
    admission_id: bytes | None = None


def refuse(rejected: Rejected) -> Decision:
    """Return the decision on a payload that is no credential."""
    return Decision(rejected.reason, detail=rejected.detail)


def decide(credential: Credential, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Return the decision on `credential` at `now_ms` (UTC); the same arguments always give the same answer.

    The policy knows the facts' site: whoever puts the two together has checked that.
    """
    resumed = _interrupted_use(facts, policy, now_ms)
    if resumed is not None:
        return Decision(Reason.RESUMED, resumed=resumed)
    now_s = now_ms // 1000
    match credential:
        case TicketCode():
            return _decide_ticket_code(credential, facts, policy, now_s)
        case ExternalCode():
            return _decide_external_code(credential, facts, now_s)
        case CreditCode():
            return _decide_credit_code(credential, facts, policy, now_ms)
        case _:
            assert_never(credential)


def _interrupted_use(facts: Facts, policy: Policy, now_ms: int) -> Use | None:
    """Return the use that a restart or a lost turnstile left open here a moment ago.

    The visitor may still stand before the closed barrier: the same admission goes on and nothing is spent again.
    """
    earliest_ms = now_ms - policy.resume_within_s * 1000
    for use in sorted(facts.history.uses, key=lambda use: use.at_ms, reverse=True):
        is_recent = earliest_ms <= use.at_ms <= now_ms
        if is_recent and _was_here(use, facts) and _may_go_on(facts.history.outcomes(use)):
            return use
    return None


def _was_here(use: Use, facts: Facts) -> bool:
    return use.lane_id == facts.lane_id and facts.box_id in (None, use.box_id)


def _may_go_on(outcomes: frozenset[Outcome]) -> bool:
    return Outcome.UNKNOWN in outcomes and outcomes <= {Outcome.UNKNOWN, Outcome.ABANDONED}


def _decide_ticket_code(code: TicketCode, facts: Facts, policy: Policy, now_s: int) -> Decision:
    if facts.ticket is not None:
        return _decide_listed(code.key, facts.ticket, facts, now_s)
    if facts.is_key_withdrawn:
        return _withdrawn(code.key_id)
    if facts.current_list is None:
        return _decide_unlisted(code, facts, Risk.BOOTSTRAP, policy, now_s)
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {code.product}")
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    return _decide_unlisted(code, facts, Risk.UNLISTED, policy, now_s)


def _decide_external_code(code: ExternalCode, facts: Facts, now_s: int) -> Decision:
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    if facts.ticket is None:
        return Decision(Reason.UNLISTED_CODE, detail=f"issuer {code.issuer}")
    return _decide_listed(code.key, facts.ticket, facts, now_s)


def _decide_listed(key: bytes, ticket: Ticket, facts: Facts, now_s: int) -> Decision:
    """Decide a ticket that the list knows; the list's row outranks what is printed in the code."""
    if facts.product is None:
        return Decision(Reason.UNKNOWN_PRODUCT, detail=f"product {ticket.product}")
    if ticket.quantity - ticket.refunded <= 0:
        return Decision(Reason.REFUNDED)
    if ticket.status is TicketStatus.BLOCKED:
        return Decision(Reason.BLOCKED)
    if facts.site_id not in facts.product.site_ids:
        return Decision(Reason.WRONG_SITE, detail=_sites(facts.product))
    outside = _outside(ticket.valid_from_s, ticket.valid_until_s, now_s)
    if outside is not None:
        return Decision(outside)
    used = ticket.used + facts.history.used_since_list(Basis.TICKET)
    if ticket.quantity - ticket.refunded - used <= 0:
        return Decision(Reason.ALREADY_USED, detail=_last_use(facts.history))
    return Decision(Reason.TICKET, Spend(key, Basis.TICKET, ticket.valid_until_s))


def _decide_unlisted(code: TicketCode, facts: Facts, risk: Risk, policy: Policy, now_s: int) -> Decision:
    """Decide a signed ticket that the list does not know: sold since, within the floor limit, or not genuine."""
    validity = code.validity
    outside = _outside(validity.from_s, validity.until_s, now_s)
    if outside is not None:
        return Decision(outside)
    if facts.current_list is not None and validity.issued_s < facts.current_list.tickets_as_of_s:
        return Decision(Reason.UNLISTED_CODE, detail="issued before the list was made, yet not on it")
    if facts.history.held(Basis.TICKET) > 0:
        return Decision(Reason.ALREADY_USED, detail=_last_use(facts.history))
    if _floor_reached(risk, facts.exposure, policy):
        return Decision(Reason.UNLISTED_LIMIT)
    return Decision(Reason.UNLISTED_TICKET, Spend(code.key, Basis.TICKET, validity.until_s, risk=risk))


def _floor_reached(risk: Risk, exposure: Exposure, policy: Policy) -> bool:
    if risk is Risk.BOOTSTRAP:
        return exposure.bootstrap >= policy.offline.bootstrap_per_day
    return exposure.unlisted >= policy.offline.unlisted_per_day


def _decide_credit_code(code: CreditCode, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    """Spend the first right, in the policy's order, that fits the subject here and now."""
    outside = _outside(code.validity.from_s, code.validity.until_s, now_ms // 1000)
    if outside is not None:
        return Decision(outside)
    if facts.is_key_withdrawn:
        return _withdrawn(code.key_id)
    if facts.current_list is None:
        return Decision(Reason.NO_LIST)
    answers = [_decide_basis(basis, code.key, facts, policy, now_ms) for basis in policy.subject_order]
    admitting = [answer for answer in answers if answer.spend is not None]
    if not admitting:
        nothing = Decision(Reason.NO_ENTITLEMENT)
        return min(answers, key=lambda answer: _MOST_TELLING.index(answer.reason), default=nothing)
    unspent = tuple(answer.spend.basis for answer in admitting[1:] if answer.spend is not None)
    return Decision(admitting[0].reason, admitting[0].spend, unspent=unspent)


_MOST_TELLING = (
    Reason.CREDIT_DATA_OLD,
    Reason.CREDIT_OFFLINE_LIMIT,
    Reason.NO_CREDIT,
    Reason.FREE_VISIT_USED,
    Reason.NO_ENTITLEMENT,
)
"""Which refusal to show when no right fits: the one that staff can do most about comes first."""


def _decide_basis(basis: Basis, key: bytes, facts: Facts, policy: Policy, now_ms: int) -> Decision:
    site = policy.sites[facts.site_id]
    if facts.subject is None:
        return Decision(Reason.NO_ENTITLEMENT)
    match basis:
        case Basis.FREE_VISIT:
            return _decide_free_visit(key, facts.subject, facts.history, site, policy, now_ms)
        case Basis.CREDIT_LINE:
            return _decide_credit_line(key, facts, site, policy, now_ms // 1000)
        case Basis.TICKET:
            return Decision(Reason.NO_ENTITLEMENT, detail="tickets are presented as themselves")
        case _:
            assert_never(basis)


def _decide_free_visit(
    key: bytes, subject: SubjectRights, history: History, site: Site, policy: Policy, now_ms: int
) -> Decision:
    """Spend the first free visit, of all the policies that fit the subject, that is not used up."""
    groups = {member.group for member in subject.memberships if member.covers(now_ms // 1000)}
    day = policy.local_date(now_ms)
    fitting = [free for free in policy.free_visits if free.applies(site, day) and groups & free.groups]
    for free in fitting:
        scope = free.counting_scope(site)
        if _free_visits_left(free, scope, subject, history) > 0:
            keep_until_s = policy.day_end_s(free.last_day)
            return Decision(Reason.FREE_VISIT, Spend(key, Basis.FREE_VISIT, keep_until_s, scope))
    return Decision(Reason.FREE_VISIT_USED if fitting else Reason.NO_ENTITLEMENT)


def _free_visits_left(free: FreeVisit, scope: str, subject: SubjectRights, history: History) -> int:
    used = subject.free_visits_used.get(scope, 0) + history.used_since_list(Basis.FREE_VISIT, scope)
    return free.quantity - used


def _decide_credit_line(key: bytes, facts: Facts, site: Site, policy: Policy, now_s: int) -> Decision:
    """Spend authorised credit: never invented, never beyond the line, and within the floor limits."""
    line = facts.subject.credit_line if facts.subject else None
    if line is None or facts.current_list is None:
        return Decision(Reason.NO_ENTITLEMENT)
    fare_fen = site.fare_fen
    since_list_fen = facts.history.fare_since_list_fen(Basis.CREDIT_LINE)
    if not _line_covers(line, fare_fen, since_list_fen, now_s):
        return Decision(Reason.NO_CREDIT)
    if now_s - facts.current_list.as_of_s > policy.credit.max_list_age_s:
        return Decision(Reason.CREDIT_DATA_OLD)
    if (
        since_list_fen + fare_fen > policy.credit.per_subject_fen
        or facts.exposure.credit_fen + fare_fen > policy.credit.per_box_day_fen
    ):
        return Decision(Reason.CREDIT_OFFLINE_LIMIT)
    spend = Spend(key, Basis.CREDIT_LINE, line.until_s, fare_fen=fare_fen, risk=Risk.CREDIT)
    return Decision(Reason.CREDIT_LINE, spend)


def _line_covers(line: CreditLine, fare_fen: int, since_list_fen: int, now_s: int) -> bool:
    left_fen = line.limit_fen - line.outstanding_fen - since_list_fen
    return now_s < line.until_s and fare_fen <= line.per_visit_fen and fare_fen <= left_fen


def _withdrawn(key_id: bytes) -> Decision:
    return Decision(Reason.KEY_WITHDRAWN, detail=f"key {key_id.hex()} was withdrawn")


def _outside(from_s: int, until_s: int, now_s: int) -> Reason | None:
    if now_s < from_s:
        return Reason.TOO_EARLY
    return Reason.EXPIRED if now_s >= until_s else None


def _sites(product: Product) -> str:
    return f"valid at {', '.join(sorted(product.site_ids))}"


def _last_use(history: History) -> str:
    """Return where and when the right was last used, as far as this box knows."""
    if not history.uses:
        return "used before the list was made"
    last = max(history.uses, key=lambda use: (use.at_ms, use.admission_id))
    at = datetime.fromtimestamp(last.at_ms // 1000, UTC)
    return f"used at {last.box_id}, lane {last.lane_id}, {at:%Y-%m-%d %H:%M:%S} UTC"
