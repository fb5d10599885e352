"""The port behind which a payment provider lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class ProviderUnreachableError(Exception):
    """Nobody knows whether the provider has done it: the same request is to be sent again."""


@dataclass(frozen=True, slots=True)
class Request:
    """Money to be moved; the same `request_id` again moves nothing more. `account` is the payer's key, in hex."""

    request_id: str
    account: str
    amount_fen: int


@dataclass(frozen=True, slots=True)
class Done:
    """The money was moved; `reference` is the provider's own number for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider will not move it now."""

    why: str


class PaymentProvider(Protocol):
    """Moves money. Both answer the same to the same request; ProviderUnreachableError when there is no answer."""

    async def charge(self, request: Request) -> Done | Declined:
        """Take the amount from the account."""

    async def refund(self, request: Request) -> Done | Declined:
        """Give the amount back to the account."""
