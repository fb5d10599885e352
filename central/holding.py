"""Binds codes to phones: each ticket and each subject to one at a time, until somebody in charge releases it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from central.schema import holders


class BoundElsewhereError(ValueError):
    """The code is on another phone."""


def bind(connection: Connection, key: bytes, holder_key: bytes, now_s: int) -> None:
    """Note that the code known under `key` is on this phone; BoundElsewhereError when it is on another."""
    bound = connection.scalar(select(holders.c.holder_key).where(holders.c.key == key))
    if bound is None:
        connection.execute(insert(holders).values(key=key, holder_key=holder_key, bound_s=now_s))
    elif bound != holder_key:
        raise BoundElsewhereError("the code is on another phone")


def release(connection: Connection, key: bytes) -> bool:
    """Let the code be bound to another phone; return whether it was on one.

    The phone before still shows what it has, until that expires: who has lost one has their ticket blocked and gets
    another.
    """
    return connection.execute(delete(holders).where(holders.c.key == key)).rowcount > 0
