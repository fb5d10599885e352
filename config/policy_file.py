"""Policy documents: TOML to the `Policy` that decisions are made by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from admission.policy import CreditLimits, Days, FreeVisit, OfflineLimits, Period, Policy, Scope, Site
from admission.tickets import Basis
from config.loader import SettingsError, load

NotNegative = Annotated[int, msgspec.Meta(ge=0)]

_BASES = {"free_visit": Basis.FREE_VISIT, "credit_line": Basis.CREDIT_LINE}


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
    clause: str
    """The text that grants this, shown to staff."""
    sites: frozenset[str] = frozenset()
    """Sites it holds at, or nodes of the site tree with all below them; empty for every site."""
    per: Period = Period.WINDOW
    """When the count begins anew: never within the window, or every year, month or day."""
    blackouts: tuple[DaysTable, ...] = ()
    """Days within the window on which it does not hold."""


class CreditTable(msgspec.Struct, frozen=True, kw_only=True):
    """Floor limits for credit while the centre is not asked."""

    per_subject_fen: NotNegative
    per_box_day_fen: NotNegative
    max_list_age_h: NotNegative


class OfflineTable(msgspec.Struct, frozen=True, kw_only=True):
    """Floor limits for signed tickets that the list does not know, per box and local day."""

    unlisted_per_day: NotNegative
    bootstrap_per_day: NotNegative
    """The same while the box has no list at all."""


class PolicyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A whole policy document."""

    version: str
    timezone: str
    """IANA name of the sites' time zone."""
    subject_order: tuple[str, ...]
    """Which right of a person is spent first: free_visit, credit_line."""
    resume_within_s: NotNegative
    """How long after an interrupted admission the same visitor may go on at the same lane."""
    override_within_s: NotNegative = 120
    """How long after a refusal a member of staff may let the visitor in without a new scan."""
    sites: tuple[SiteTable, ...]
    free_visits: tuple[FreeVisitTable, ...] = ()
    credit: CreditTable
    offline: OfflineTable


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
    problems = (*_site_problems(document), *_order_problems(document), *_window_problems(document))
    if problems:
        raise SettingsError(problems)
    return Policy(
        version=document.version,
        timezone=ZoneInfo(document.timezone),
        sites={site.id: _site(site) for site in document.sites},
        free_visits=tuple(_free_visit(table) for table in document.free_visits),
        subject_order=tuple(_BASES[name] for name in document.subject_order),
        credit=CreditLimits(
            document.credit.per_subject_fen,
            document.credit.per_box_day_fen,
            document.credit.max_list_age_h * 3600,
        ),
        offline=OfflineLimits(document.offline.unlisted_per_day, document.offline.bootstrap_per_day),
        resume_within_s=document.resume_within_s,
        override_within_s=document.override_within_s,
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


def _window_problems(document: PolicyDocument) -> list[str]:
    problems = _twice(
        "free_visits", [free.id for free in document.free_visits]
    )  # ids name what is counted together
    ids = {site.id for site in document.sites}
    for number, free in enumerate(document.free_visits):
        where = f"free_visits[{number}]"
        problems += [f"{where}.sites: no site is called {name!r}" for name in sorted(free.sites - ids)]
        problems += [
            f"{where}.blackouts[{at}].last: {days.last} lies before first {days.first}"
            for at, days in enumerate(free.blackouts)
            if days.last < days.first
        ]
        if free.last_day < free.first_day:
            problems.append(
                f"free_visits[{number}].last_day: {free.last_day} lies before first_day {free.first_day}"
            )
        if free.last_day == dt.date.max:
            problems.append(f"free_visits[{number}].last_day: {free.last_day} has no day after it")
    return problems


def _twice(where: str, names: Sequence[str]) -> list[str]:
    return [f"{where}: {name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1]
