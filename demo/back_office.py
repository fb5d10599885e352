"""The centre's HTTP API as a seller uses it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiohttp


class BackOfficeError(Exception):
    """The centre refused a request."""


@dataclass(frozen=True, slots=True)
class Sold:
    """A ticket of the centre: its id, the key that lists and uses know, the code to show and the one to type."""

    ticket_id: str
    key: str
    code: str
    short_code: str


class BackOffice:
    """Sells, imports, refunds and reads."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(self._base_url)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def import_rows(self, kind: str, rows: Sequence[dict[str, Any]]) -> None:
        """Import rows of products, tickets, refunds, groups, credit-lines or boxes."""
        await self._post(f"/v1/imports/{kind}", {"rows": list(rows)})

    async def invite(self, box_id: str, site_id: str) -> str:
        """Return the token with which a box enrols, once."""
        answer = await self._post(f"/v1/boxes/{box_id}/invitation", {"site_id": site_id})
        return str(answer["token"])

    async def bar(self, box_id: str) -> None:
        """Let a lost box in no more."""
        await self._post(f"/v1/boxes/{box_id}/bar", {})

    async def sell(self, product: str, valid_from: str, valid_until: str, count: int) -> list[Sold]:
        """Sell `count` tickets; dates are local days, the last one inclusive."""
        order = {"product": product, "valid_from": valid_from, "valid_until": valid_until, "count": count}
        answer = await self._post("/v1/tickets", order)
        return [
            Sold(ticket["ticket_id"], ticket["key"], ticket["code"], ticket["short_code"])
            for ticket in answer["tickets"]
        ]

    async def refund(self, sold: Sold) -> None:
        """Refund the whole ticket."""
        await self.import_rows("refunds", [{"code": sold.ticket_id, "refunded": 1}])

    async def credit_code(self, subject: str) -> str:
        """Return today's credit code of a subject."""
        answer = await self._post("/v1/credit-codes", {"subject": subject})
        code: str = answer["code"]
        return code

    async def bind(self, code: str, holder: bytes) -> str:
        """Return the code bound to the phone that has the private half of the P-256 key `holder`."""
        answer = await self._post(
            "/phone/codes", {"code": code, "holder_key": base64.b64encode(holder).decode("ascii")}
        )
        bound: str = answer["code"]
        return bound

    async def summary(self) -> dict[str, Any]:
        """Return what the centre knows, counted."""
        return await self._request("GET", "/v1/summary", None)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._request("POST", path, body)

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if self._session is None:
            raise BackOfficeError("the session is not open")
        async with self._session.request(method, path, json=body) as response:
            answer: dict[str, Any] = await response.json()
            if response.status >= 400:
                raise BackOfficeError(f"{method} {path}: {response.status} {answer}")
            return answer
