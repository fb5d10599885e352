"""Counters derived from the folded uses, in SQL; what counts is what `admission.tickets.is_held` says."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

from sqlalchemy import BigInteger, Column, Select, cast, exists, func, literal, select

from admission.tickets import Basis, Outcome, is_held
from central.judging import CHARGED_OUTCOMES
from central.schema import closings, uses

_OF_THE_USE = closings.c.admission_id == uses.c.admission_id
_OUTCOME_SETS = chain.from_iterable(combinations(Outcome, size) for size in range(len(Outcome) + 1))

_OUTCOME_BITS = (
    select(func.coalesce(func.sum(literal(1).bitwise_lshift(closings.c.outcome)), 0))
    .where(_OF_THE_USE)
    .scalar_subquery()
)
HELD = _OUTCOME_BITS.in_(
    [sum(1 << outcome for outcome in ended) for ended in _OUTCOME_SETS if is_held(ended)]
)
"""The condition that a use still counts: its set of outcomes is one of those with which the rule holds it."""

WENT_THROUGH = exists().where(_OF_THE_USE, closings.c.outcome.in_(CHARGED_OUTCOMES))
"""The condition that someone was seen to go through on a use."""


def held_by(basis: Basis, *columns: Column[Any]) -> Select[Any]:
    """Return, by `columns` of the uses, the `used` quantity and the `fare_fen` of the held uses on a basis."""
    used, fare_fen = (cast(func.sum(column), BigInteger) for column in (uses.c.quantity, uses.c.fare_fen))
    query = select(*columns, used.label("used"), fare_fen.label("fare_fen"))
    return query.where(uses.c.basis == basis, HELD).group_by(*columns)
