"""Small worlds for tests of the core: keys, a code book, a policy, and facts about one credential."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.codes import (
    CodeBook,
    CreditCode,
    ExternalCode,
    ExternalIssuer,
    IssuerKey,
    KeyUse,
    TicketCode,
    Validity,
)
from admission.entitlements import CreditLine, Membership, SubjectRights
from admission.facts import Exposure, Facts, ListInfo
from admission.keys import SigningKey, new_signing_key
from admission.policy import CreditLimits, FreeVisit, OfflineLimits, Policy, Scope, Site
from admission.tickets import Basis, Closing, History, Outcome, Product, Ticket, TicketStatus, Use

BEIJING = timezone(timedelta(hours=8))
NOW_S = int(datetime(2026, 5, 1, 12, 0, tzinfo=BEIJING).timestamp())
NOW_MS = NOW_S * 1000
HOUR_S, DAY_S = 3600, 86_400

BOX, LANE, SITE = "box-1", "lane-1", "fairy"
KEY = bytes(range(16))
HASH_KEY = bytes(range(32))


def signing_key(seed: int, *, demo: bool = True) -> SigningKey:
    """The same key for the same seed."""
    return new_signing_key(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), demo=demo)


TICKET_ISSUER, CREDIT_ISSUER, STRANGER = signing_key(1), signing_key(2), signing_key(3)


def issuer_key(key: SigningKey, *uses: KeyUse) -> IssuerKey:
    """What a box knows of an issuer."""
    return IssuerKey(key.key_id, key.public.key, frozenset(uses))


BOOK = CodeBook(
    issuer_keys={
        TICKET_ISSUER.key_id: issuer_key(TICKET_ISSUER, KeyUse.TICKET),
        CREDIT_ISSUER.key_id: issuer_key(CREDIT_ISSUER, KeyUse.CREDIT),
    },
    external_issuers=(
        ExternalIssuer("ota", re.compile(r"OTA[0-9]{10}", re.ASCII)),
        ExternalIssuer("office", re.compile(r"[A-Z]{2}-[0-9]{6}", re.ASCII)),
    ),
    hash_key=HASH_KEY,
)

VALIDITY = Validity(from_s=NOW_S - HOUR_S, until_s=NOW_S + HOUR_S, issued_s=NOW_S - 600)
TICKET_CODE = TicketCode(KEY, "DAY1", VALIDITY)
CREDIT_CODE = CreditCode(KEY, VALIDITY)
EXTERNAL_CODE = ExternalCode(KEY, "ota")

FAIRY = Site(SITE, "wulong", "仙女山", "Fairy Mountain", state_owned=True, fare_fen=5000)
CABLEWAY = Site("cableway", "wulong", "索道", "Cableway", state_owned=False, fare_fen=3000)
BRIDGES = Site("bridges", "wulong", "天生三桥", "Three Bridges", state_owned=True, fare_fen=9500)


def free_visit(
    policy_id: str = "first",
    *,
    groups: frozenset[str] = frozenset({"good", "hero"}),
    state_owned_only: bool = True,
    scope: Scope = Scope.PER_SITE,
    first_day: date = date(2026, 1, 1),
    last_day: date = date(2026, 12, 31),
    quantity: int = 1,
) -> FreeVisit:
    """A free-visit policy that fits a member of `good` at the test site today."""
    return FreeVisit(policy_id, groups, state_owned_only, scope, first_day, last_day, quantity, "clause")


CREDIT_LIMITS = CreditLimits(per_subject_fen=12_000, per_box_day_fen=50_000, max_list_age_s=DAY_S)
OFFLINE_LIMITS = OfflineLimits(unlisted_per_day=3, bootstrap_per_day=2)


def policy(
    *,
    free_visits: tuple[FreeVisit, ...] = (free_visit(),),
    subject_order: tuple[Basis, ...] = (Basis.FREE_VISIT, Basis.CREDIT_LINE),
    credit: CreditLimits = CREDIT_LIMITS,
    offline: OfflineLimits = OFFLINE_LIMITS,
    resume_within_s: int = 30,
) -> Policy:
    """A policy whose limits are small enough to reach."""
    return Policy(
        version="test",
        timezone=BEIJING,
        sites={site.site_id: site for site in (FAIRY, CABLEWAY, BRIDGES)},
        free_visits=free_visits,
        subject_order=subject_order,
        credit=credit,
        offline=offline,
        resume_within_s=resume_within_s,
    )


POLICY = policy()
LIST = ListInfo(version=7, as_of_s=NOW_S - HOUR_S)
DAY_TICKET = Product("DAY1", "一日票", "Day ticket", frozenset({SITE}))
ELSEWHERE = Product("DAY2", "三桥一日票", "Bridges day ticket", frozenset({"bridges"}))


def ticket(
    *,
    status: TicketStatus = TicketStatus.VALID,
    quantity: int = 1,
    refunded: int = 0,
    used: int = 0,
    valid_from_s: int = NOW_S - HOUR_S,
    valid_until_s: int = NOW_S + HOUR_S,
) -> Ticket:
    """A ticket that admits once now, unless told otherwise."""
    return Ticket(status, "DAY1", quantity, refunded, used, valid_from_s, valid_until_s)


def facts(
    *,
    site_id: str = SITE,
    current_list: ListInfo | None = LIST,
    product: Product | None = DAY_TICKET,
    ticket: Ticket | None = None,
    subject: SubjectRights | None = None,
    history: History | None = None,
    exposure: Exposure | None = None,
    is_key_withdrawn: bool = False,
) -> Facts:
    """Facts at the test lane."""
    return Facts(
        site_id,
        LANE,
        current_list,
        product,
        ticket,
        subject,
        history or History(),
        exposure or Exposure(),
        is_key_withdrawn=is_key_withdrawn,
    )


def line(
    *,
    limit_fen: int = 20_000,
    per_visit_fen: int = 10_000,
    outstanding_fen: int = 0,
    until_s: int = NOW_S + DAY_S,
) -> CreditLine:
    """A credit line that covers a visit."""
    return CreditLine(limit_fen, per_visit_fen, outstanding_fen, until_s)


MEMBER = (Membership("good", NOW_S - DAY_S, NOW_S + DAY_S),)


def subject(
    *,
    memberships: tuple[Membership, ...] = (),
    free_visits_used: dict[str, int] | None = None,
    credit_line: CreditLine | None = None,
) -> SubjectRights:
    """A subject with no rights, unless told otherwise."""
    return SubjectRights(memberships, free_visits_used or {}, credit_line)


def use(
    number: int = 1,
    *,
    basis: Basis = Basis.TICKET,
    scope: str = "",
    lane_id: str = LANE,
    box_id: str = BOX,
    quantity: int = 1,
    fare_fen: int = 0,
    at_ms: int = NOW_MS - 600_000,
) -> Use:
    """Use `number` of the box, ten minutes ago unless told otherwise; its ledger entry has ten times that number."""
    return Use(admission_id(number), box_id, number * 10, basis, scope, lane_id, quantity, fare_fen, at_ms)


def admission_id(number: int) -> bytes:
    """The admission of use `number`."""
    return number.to_bytes(16)


def closing(number: int, outcome: Outcome, *, seq_no: int | None = None, box_id: str = BOX) -> Closing:
    """How the admission of use `number` ended; recorded right after it unless told otherwise."""
    return Closing(admission_id(number), outcome, box_id, seq_no or number * 10 + 1, NOW_MS)


def utc_s(*moment: int) -> int:
    """UTC seconds of a UTC date and time."""
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]
