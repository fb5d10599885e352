"""Policy documents: TOML to the `Policy` that decisions are made by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from admission.capacity import CapacityLimits
from admission.clearance import ClearanceRule, Colour
from admission.policy import (
    AgeVisit,
    Benefit,
    CreditLimits,
    Days,
    FreeVisit,
    LiveCodes,
    OfflineLimits,
    Period,
    Policy,
    Scope,
    Site,
)
from admission.reasons import Verdict
from admission.terms import PLAIN, Ages, Proof, Terms, TermsError, check_terms
from admission.tickets import Basis, Product
from config.loader import SettingsError, load

NotNegative = Annotated[int, msgspec.Meta(ge=0)]

Meaning = Literal["admit", "refer", "deny"]

_BASES = {
    "ticket": Basis.TICKET,
    "statutory": Basis.STATUTORY,
    "free_visit": Basis.FREE_VISIT,
    "credit_order": Basis.CREDIT_ORDER,
    "credit_line": Basis.CREDIT_LINE,
}


class SiteTable(msgspec.Struct, frozen=True, kw_only=True):
    """A place with gates."""

    id: str
    """Short id, as boxes and products name it."""
    parent: str = ""
    """Id of the site this one belongs to; empty at the top."""
    name_zh: str
    name_en: str
    state_owned: bool
    admission_fare_fen: NotNegative
    """What one admission costs on credit, in fen."""


class DaysTable(msgspec.Struct, frozen=True, kw_only=True):
    """Local days, both inclusive."""

    first: dt.date
    last: dt.date


class FreeVisitTable(msgspec.Struct, frozen=True, kw_only=True):
    """Free admissions for trusted groups."""

    id: str
    groups: frozenset[str]
    state_owned_only: bool
    scope: Scope
    """Count first visits per_site or over the whole district."""
    first_day: dt.date
    """First local day, as a TOML date."""
    last_day: dt.date
    """Last local day, inclusive."""
    quantity: Annotated[int, msgspec.Meta(ge=1)] = 1
    """How many visits are free."""
    companions: NotNegative = 0
    """How many others each visit brings in, free as well."""
    clause: str
    """The text that grants this, shown to staff."""
    sites: frozenset[str] = frozenset()
    """Sites it holds at, or nodes of the site tree with all below them; empty for every site."""
    per: Period = Period.WINDOW
    """When the count begins anew: never within the window, or every year, month or day."""
    blackouts: tuple[DaysTable, ...] = ()
    """Days within the window on which it does not hold."""
    proofs: tuple[Proof, ...] = ()
    """What staff have to look at first."""


class BenefitTable(msgspec.Struct, frozen=True, kw_only=True):
    """What members of trusted groups have beside free visits."""

    id: str
    groups: frozenset[str]
    """A grade of credit or a class of bank card is a group, too."""
    first_day: dt.date
    last_day: dt.date
    clause: str
    sites: frozenset[str] = frozenset()
    priority_lane: bool = False
    """Whether they may use the priority lanes (绿色通道)."""
    discount_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """What is taken off an admission on credit."""


class ProductTable(msgspec.Struct, frozen=True, kw_only=True):
    """A product that the centre sells: a campaign's pass, say."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name_zh: str
    name_en: str
    sites: frozenset[str]
    """Where it admits."""
    terms: Terms = PLAIN
    """What it asks for and gives, as in an import of products."""


class AgeVisitTable(msgspec.Struct, frozen=True, kw_only=True):
    """Free admission by age, read from a document without staff."""

    id: str
    from_age: NotNegative = 0
    before_age: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Years of age, completed on the site's local day; left out for no end."""
    first_day: dt.date
    last_day: dt.date
    clause: str
    sites: frozenset[str] = frozenset()
    """Sites it holds at, or nodes of the site tree with all below them; empty for every site."""
    state_owned_only: bool = False
    per_day: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How often on one local day; left out for no such limit."""


class MeaningsTable(msgspec.Struct, frozen=True, kw_only=True):
    """What each colour means at the gate."""

    green: Meaning = "admit"
    amber: Meaning = "refer"
    red: Meaning = "deny"
    unknown: Meaning = "refer"
    """Nothing was said of the visitor, or what was said has ended."""


class ClearanceTable(msgspec.Struct, frozen=True, kw_only=True):
    """Something that others find about visitors, judged together with the ticket; the worst wins."""

    provider: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    """Short id, as in an import of clearances."""
    name_zh: str
    name_en: str
    max_age_h: NotNegative
    """How old the list, or the changes since, may be before `offline` holds."""
    online: MeaningsTable = MeaningsTable()
    offline: MeaningsTable = MeaningsTable()


class CapacityTable(msgspec.Struct, frozen=True, kw_only=True):
    """The approved capacity of a site (最大承载量)."""

    site: str
    max_inside: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many may be in at one moment; needs exit lanes, or the count only grows."""
    max_per_day: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many may come on one local day."""
    percents: tuple[int, int, int] = (80, 90, 95)
    """From where on it is yellow, orange and red; at red reservations still enter and walk-ups do not."""


class CreditTable(msgspec.Struct, frozen=True, kw_only=True):
    """Floor limits for credit while the centre is not asked."""

    per_subject_fen: NotNegative
    per_box_day_fen: NotNegative
    max_list_age_h: NotNegative
    visits_per_day: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How often one subject may use its line on one local day; left out for no such limit."""
    boxes: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many boxes there are at most: each may risk its own limit while nobody hears of the others."""
    max_exposure_fen: NotNegative | None = None
    """What all boxes together may risk on one day with no network; needs `boxes`."""


class OfflineTable(msgspec.Struct, frozen=True, kw_only=True):
    """Floor limits for signed tickets that the list does not know, per box and local day."""

    unlisted_per_day: NotNegative
    bootstrap_per_day: NotNegative
    """The same while the box has no list at all."""


class LiveCodesTable(msgspec.Struct, frozen=True, kw_only=True):
    """What codes that are bound to a phone have to show."""

    within_s: Annotated[int, msgspec.Meta(ge=5)] = 30
    """How far the phone's time may be from the box's."""
    max_drift_s: NotNegative = 600
    """How far when the phone proves itself with two codes, one after the other."""
    credit: bool = False
    """Whether credit codes have to be bound to a phone; products say it for their tickets with `terms.live`."""


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A whole policy document."""

    version: str
    timezone: str
    """IANA name of the sites' time zone."""
    subject_order: tuple[str, ...]
    """Which right is spent first: ticket (also where not named), statutory, free_visit, credit_order, credit_line."""
    resume_within_s: NotNegative
    """How long after an interrupted admission the same visitor may go on at the same lane."""
    override_within_s: NotNegative = 120
    """How long after a refusal a member of staff may let the visitor in without a new scan."""
    sites: tuple[SiteTable, ...]
    free_visits: tuple[FreeVisitTable, ...] = ()
    benefits: tuple[BenefitTable, ...] = ()
    age_visits: tuple[AgeVisitTable, ...] = ()
    products: tuple[ProductTable, ...] = ()
    clearances: tuple[ClearanceTable, ...] = ()
    """Left out, clearance is off."""
    capacities: tuple[CapacityTable, ...] = ()
    credit: CreditTable
    offline: OfflineTable
    live_codes: LiveCodesTable = LiveCodesTable()


def load_policy(path: Path) -> Policy:
    """Return the policy in the file; SettingsError names the file and every mistake in it."""
    try:
        return read_policy(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{path}: cannot be read: {error}",)) from error
    except SettingsError as error:
        raise SettingsError(tuple(f"{path}: {problem}" for problem in error.problems)) from error


def read_policy(text: str) -> Policy:
    """Return the policy that the TOML `text` describes; SettingsError with every mistake when it does not."""
    document = load(text, PolicyDocument)
    problems = (
        *_site_problems(document),
        *_order_problems(document),
        *_free_visit_problems(document),
        *_benefit_problems(document),
        *_age_visit_problems(document),
        *_product_problems(document),
        *_twice("clearances", [table.provider for table in document.clearances]),
        *_capacity_problems(document),
        *_exposure_problems(document.credit),
    )
    if problems:
        raise SettingsError(problems)
    return Policy(
        version=document.version,
        document=text,
        timezone=ZoneInfo(document.timezone),
        sites={site.id: _site(site) for site in document.sites},
        free_visits=tuple(_free_visit(table) for table in document.free_visits),
        subject_order=_order(document),
        credit=CreditLimits(
            document.credit.per_subject_fen,
            document.credit.per_box_day_fen,
            document.credit.max_list_age_h * 3600,
            document.credit.visits_per_day,
        ),
        offline=OfflineLimits(document.offline.unlisted_per_day, document.offline.bootstrap_per_day),
        live_codes=LiveCodes(
            document.live_codes.within_s,
            document.live_codes.max_drift_s,
            credit=document.live_codes.credit,
        ),
        resume_within_s=document.resume_within_s,
        override_within_s=document.override_within_s,
        benefits=tuple(_benefit(table) for table in document.benefits),
        age_visits=tuple(_age_visit(table) for table in document.age_visits),
        clearances=tuple(_clearance(table) for table in document.clearances),
        products=tuple(
            Product(table.code, table.name_zh, table.name_en, table.sites, table.terms)
            for table in document.products
        ),
        capacities={
            table.site: CapacityLimits(table.max_inside, table.max_per_day, table.percents)
            for table in document.capacities
        },
    )


def _site(table: SiteTable) -> Site:
    return Site(
        site_id=table.id,
        parent_id=table.parent,
        name_zh=table.name_zh,
        name_en=table.name_en,
        state_owned=table.state_owned,
        fare_fen=table.admission_fare_fen,
    )


def _free_visit(table: FreeVisitTable) -> FreeVisit:
    return FreeVisit(
        policy_id=table.id,
        groups=table.groups,
        state_owned_only=table.state_owned_only,
        scope=table.scope,
        first_day=table.first_day,
        last_day=table.last_day,
        quantity=table.quantity,
        clause=table.clause,
        sites=table.sites,
        blackouts=tuple(Days(days.first, days.last) for days in table.blackouts),
        per=table.per,
        proofs=table.proofs,
        companions=table.companions,
    )


def _order(document: PolicyDocument) -> tuple[Basis, ...]:
    """Return the order of rights; what somebody has paid for goes first where the document does not say."""
    named = tuple(_BASES[name] for name in document.subject_order)
    return named if Basis.TICKET in named else (Basis.TICKET, *named)


def _age_visit(table: AgeVisitTable) -> AgeVisit:
    return AgeVisit(
        rule_id=table.id,
        ages=Ages(from_age=table.from_age, before_age=table.before_age),
        first_day=table.first_day,
        last_day=table.last_day,
        clause=table.clause,
        sites=table.sites,
        state_owned_only=table.state_owned_only,
        per_day=table.per_day,
    )


def _clearance(table: ClearanceTable) -> ClearanceRule:
    return ClearanceRule(
        table.provider,
        table.name_zh,
        table.name_en,
        table.max_age_h * 3600,
        _meanings(table.online),
        _meanings(table.offline),
    )


def _meanings(table: MeaningsTable) -> dict[Colour, Verdict]:
    return {colour: Verdict(getattr(table, colour).upper()) for colour in Colour}


def _benefit(table: BenefitTable) -> Benefit:
    return Benefit(
        benefit_id=table.id,
        groups=table.groups,
        first_day=table.first_day,
        last_day=table.last_day,
        clause=table.clause,
        sites=table.sites,
        priority_lane=table.priority_lane,
        discount_percent=table.discount_percent,
    )


def _site_problems(document: PolicyDocument) -> list[str]:
    ids = [site.id for site in document.sites]
    problems = _twice("sites", ids)
    problems += [
        f"sites[{number}].parent: no site is called {site.parent!r}"
        for number, site in enumerate(document.sites)
        if site.parent and site.parent not in ids
    ]
    try:
        ZoneInfo(document.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(f"timezone: {document.timezone!r} is not an IANA time zone")
    return problems


def _order_problems(document: PolicyDocument) -> list[str]:
    problems = _twice("subject_order", document.subject_order)
    problems += [
        f"subject_order: {name!r} is none of {', '.join(_BASES)}"
        for name in document.subject_order
        if name not in _BASES
    ]
    return problems


def _free_visit_problems(document: PolicyDocument) -> list[str]:
    problems = _twice(
        "free_visits", [free.id for free in document.free_visits]
    )  # ids name what is counted together
    for number, free in enumerate(document.free_visits):
        where = f"free_visits[{number}]"
        problems += _where_problems(where, free, document)
        problems += [
            f"{where}.blackouts[{at}].last: {days.last} lies before first {days.first}"
            for at, days in enumerate(free.blackouts)
            if days.last < days.first
        ]
    return problems


def _benefit_problems(document: PolicyDocument) -> list[str]:
    problems = _twice("benefits", [benefit.id for benefit in document.benefits])
    for number, benefit in enumerate(document.benefits):
        where = f"benefits[{number}]"
        problems += _where_problems(where, benefit, document)
        if not benefit.priority_lane and not benefit.discount_percent:
            problems.append(f"{where}: gives nothing; set priority_lane or discount_percent")
    return problems


def _age_visit_problems(document: PolicyDocument) -> list[str]:
    problems = _twice("age_visits", [rule.id for rule in document.age_visits])
    for number, rule in enumerate(document.age_visits):
        where = f"age_visits[{number}]"
        problems += _where_problems(where, rule, document)
        if rule.before_age is not None and rule.before_age <= rule.from_age:
            problems.append(f"{where}.before_age: {rule.before_age} is not after from_age {rule.from_age}")
    if document.age_visits and "statutory" not in document.subject_order:
        problems.append("subject_order: names no statutory, and without it age_visits give nothing")
    return problems


def _product_problems(document: PolicyDocument) -> list[str]:
    problems = _twice("products", [product.code for product in document.products])
    known = {site.id for site in document.sites}
    for number, product in enumerate(document.products):
        where = f"products[{number}]"
        problems += [f"{where}.sites: no site is called {name!r}" for name in sorted(product.sites - known)]
        if not product.sites:
            problems.append(f"{where}.sites: names none, and so it admits nowhere")
        try:
            check_terms(msgspec.json.encode(product.terms))
        except TermsError as error:
            problems.append(f"{where}.terms: {error}")
    return problems


def _where_problems(
    where: str, table: FreeVisitTable | BenefitTable | AgeVisitTable, document: PolicyDocument
) -> list[str]:
    """Return what is wrong with the sites and the window that both kinds have."""
    known = {site.id for site in document.sites}
    problems = [f"{where}.sites: no site is called {name!r}" for name in sorted(table.sites - known)]
    if table.last_day < table.first_day:
        problems.append(f"{where}.last_day: {table.last_day} lies before first_day {table.first_day}")
    if table.last_day == dt.date.max:
        problems.append(f"{where}.last_day: {table.last_day} has no day after it")
    return problems


def _capacity_problems(document: PolicyDocument) -> list[str]:
    problems = _twice("capacities", [table.site for table in document.capacities])
    known = {site.id for site in document.sites}
    for number, table in enumerate(document.capacities):
        where = f"capacities[{number}]"
        if table.site not in known:
            problems.append(f"{where}.site: no site is called {table.site!r}")
        if table.max_inside is None and table.max_per_day is None:
            problems.append(f"{where}: limits nothing; set max_inside or max_per_day")
        if not 0 < table.percents[0] <= table.percents[1] <= table.percents[2] <= 100:
            problems.append(f"{where}.percents: {list(table.percents)} do not rise from above 0 to 100")
    return problems


def _exposure_problems(credit: CreditTable) -> list[str]:
    """Return whether all boxes together could risk more, with no network, than was agreed."""
    if credit.max_exposure_fen is None:
        return []
    if credit.boxes is None:
        return ["credit.boxes: is needed to keep within max_exposure_fen"]
    exposure_fen = credit.per_box_day_fen * credit.boxes
    if exposure_fen <= credit.max_exposure_fen:
        return []
    sum_ = f"{credit.boxes} boxes with {credit.per_box_day_fen} fen a day each may risk {exposure_fen} fen"
    return [f"credit.per_box_day_fen: {sum_}, more than max_exposure_fen {credit.max_exposure_fen}"]


def _twice(where: str, names: Sequence[str]) -> list[str]:
    return [f"{where}: {name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1]
