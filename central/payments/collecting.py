"""Asks the provider for what is owed, one payment after the other, for as long as the centre runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row

from admission.policy import Policy
from central.clock import Clock
from central.payments import book
from central.payments.provider import Declined, Done, PaymentProvider, ProviderUnreachableError
from central.reconcile import settle_used
from central.store import Store

log = logging.getLogger(__name__)
AT_ONCE = 100
_AT_MOST_S = 60.0
"""It looks that often even when nobody has woken it: a clock may have been set."""


class Collecting:
    """Takes up what was charged and asks for it; `on_settled` is called when lists or rights have changed by it."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        provider: PaymentProvider,
        retry_after_h: Sequence[int],
        clock: Clock,
        on_settled: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._policy = policy
        self._provider = provider
        self._retry_after_h = retry_after_h
        self._clock = clock
        self._on_settled = on_settled
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Note that something was charged, or is to be asked for again."""
        self._woken.set()

    async def run(self) -> None:
        """Collect until cancelled."""
        while True:
            self._woken.clear()
            await self._collect()
            await self._rest()

    async def _collect(self) -> None:
        await self._store.run(lambda connection: book.take_up(connection, self._now_s()))
        while asked := await self._store.read(
            lambda connection: book.to_be_asked(connection, self._now_s(), AT_ONCE)
        ):
            for payment in asked:
                await self._ask(payment)

    async def _ask(self, payment: Row[Any]) -> None:
        """Ask, then enter the answer. A crash between the two is an answer that did not come: it is asked again."""
        request = book.request_of(payment)
        ask = self._provider.refund if payment.state == book.State.REFUNDING else self._provider.charge
        answer: Done | Declined | None
        try:
            answer = await ask(request)
        except ProviderUnreachableError as error:
            log.warning(
                "no answer from the payment provider",
                extra={"request": request.request_id, "why": str(error)},
            )
            answer = None
        changed = await self._store.run(partial(self._enter, payment, answer))
        if answer is not None:
            self._on_settled(changed)

    def _enter(self, payment: Row[Any], answer: Done | Declined | None, connection: Connection) -> bool:
        changed = book.note_answer(connection, payment, answer, self._now_s(), self._retry_after_h)
        if isinstance(answer, Done):
            # What is paid for is no excess over the line any more.
            settle_used(connection, [payment.key], self._policy)
        return changed

    async def _rest(self) -> None:
        """Return when woken, or when the next payment is to be asked for."""
        next_s = await self._store.read(book.next_try_s)
        wait_s = _AT_MOST_S if next_s is None else min(_AT_MOST_S, max(0, next_s - self._now_s()))
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _now_s(self) -> int:
        return self._clock() // 1000
