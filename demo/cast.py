"""Who comes to the gate: visitors of every kind, with real codes, and the verdict that each must get."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission import base45
from admission.codes import PREFIX, Validity, issue_ticket_code, show
from admission.holders import prove, public_half
from admission.keys import new_signing_key
from demo.back_office import BackOffice, Sold
from demo.world import LIVE, OTA

ZONE = ZoneInfo("Asia/Shanghai")
FARE_FEN = 5000
SCREENSHOT_AGE_S = 300
Expected = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Guest:
    """One visitor: what they show, what must be answered, and whether they walk through.

    `key` is what the centre knows the right by, empty where there is none. `follows` names the guest of the same
    story whose visit must be over before.
    """

    id: str
    kind: str
    code: str
    expected: Expected
    key: str = ""
    passes: bool = True
    follows: str = ""
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """One showing within a story."""

    kind: str
    code: str
    verdict: str
    reason: str
    key: str = ""
    passes: bool = True


Story = tuple[Visit, ...]


class Casting:
    """Obtains codes from the centre and writes them into stories."""

    def __init__(self, office: BackOffice, rng: random.Random) -> None:
        self._office = office
        self._rng = rng
        self._today = datetime.now(ZONE).date()

    async def stories(self, counts: dict[str, int]) -> list[Story]:
        """Return as many stories of each kind as wanted."""
        makers: dict[str, Callable[[int], Awaitable[list[Story]]]] = {
            "valid": self._valid,
            "used": self._used,
            "short": self._short,
            "mistyped": self._mistyped,
            "copy": self._copy,
            "copy_elsewhere": self._copy_elsewhere,
            "screenshot": self._screenshot,
            "forged": self._forged,
            "wrong_key": self._wrong_key,
            "refunded": self._refunded,
            "wrong_site": self._wrong_site,
            "too_early": self._too_early,
            "expired": self._expired,
            "not_a_ticket": self._not_a_ticket,
            "external": self._external,
            "external_unlisted": self._external_unlisted,
            "elder": self._elder,
            "document": self._document,
            "member": self._member,
            "credit": self._credit,
            "abandoned": self._abandoned,
        }
        found: list[Story] = []
        for kind, count in counts.items():
            found += await makers[kind](count)
        return found

    async def _sell(self, count: int, product: str = "DAY1", first: int = -1, last: int = 1) -> list[Sold]:
        days = [(self._today + timedelta(days=days)).isoformat() for days in (first, last)]
        return await self._office.sell(product, days[0], days[1], count)

    async def _valid(self, count: int) -> list[Story]:
        return [(_admit("valid", sold.code, sold.key),) for sold in await self._sell(count)]

    async def _used(self, count: int) -> list[Story]:
        return [
            (
                _admit("valid", sold.code, sold.key),
                Visit("already_used", sold.code, "DENY", "ALREADY_USED", sold.key),
            )
            for sold in await self._sell(count)
        ]

    async def _short(self, count: int) -> list[Story]:
        """Whoever came in by the short code does not come in by the other one again."""
        return [
            (
                _admit("short", sold.short_code, sold.key),
                Visit("already_used", sold.code, "DENY", "ALREADY_USED", sold.key),
            )
            for sold in await self._sell(count)
        ]

    async def _mistyped(self, count: int) -> list[Story]:
        codes = [sold.short_code for sold in await self._sell(count)]
        return [(Visit("mistyped", _swapped(code), "DENY", "MISTYPED"),) for code in codes]

    async def _copy(self, count: int) -> list[Story]:
        return [
            (
                _admit("original", sold.code, sold.key),
                Visit("copy", sold.code, "DENY", "ALREADY_USED", sold.key),
            )
            for sold in await self._sell(count)
        ]

    async def _copy_elsewhere(self, count: int) -> list[Story]:
        """A copy that is to be shown at another box than its original."""
        return [
            (original, replace(copy, kind="copy_elsewhere")) for original, copy in await self._copy(count)
        ]

    async def _screenshot(self, count: int) -> list[Story]:
        """A picture of somebody else's phone, taken some minutes ago: nobody but that phone can sign a later time."""
        taken_s = int(datetime.now(ZONE).timestamp()) - SCREENSHOT_AGE_S
        stories: list[Story] = []
        for ticket in await self._sell(count, product=LIVE):
            phone = ec.generate_private_key(ec.SECP256R1())
            code = await self._office.bind(ticket.code, public_half(phone))
            picture = show(code, lambda envelope, phone=phone: prove(envelope, taken_s, phone))  # type: ignore[misc]
            stories.append((Visit("screenshot", picture, "REFER", "NOT_LIVE", ticket.key),))
        return stories

    async def live_code(self) -> str:
        """Return the code of a ticket that waits for the phone which it will be bound to."""
        (ticket,) = await self._sell(1, product=LIVE)
        return ticket.code

    async def _abandoned(self, count: int) -> list[Story]:
        return [
            (
                replace(_admit("nobody_passed", sold.code, sold.key), passes=False),
                _admit("came_back", sold.code, sold.key),
            )
            for sold in await self._sell(count)
        ]

    async def _forged(self, count: int) -> list[Story]:
        return [
            (Visit("forged", self._alter(sold.code), "DENY", "BAD_SIGNATURE"),)
            for sold in await self._sell(count)
        ]

    async def _wrong_key(self, count: int) -> list[Story]:
        now_s = int(datetime.now(ZONE).timestamp())
        stranger = new_signing_key(Ed25519PrivateKey.generate())
        validity = Validity(now_s - 3600, now_s + 36_000, now_s)
        codes = [issue_ticket_code(self._rng.randbytes(12), "DAY1", validity, stranger) for _ in range(count)]
        return [(Visit("wrong_key", code, "DENY", "UNKNOWN_KEY"),) for code in codes]

    async def _refunded(self, count: int) -> list[Story]:
        sold = await self._sell(count)
        for ticket in sold:
            await self._office.refund(ticket)
        return [(Visit("refunded", ticket.code, "DENY", "REFUNDED", ticket.key),) for ticket in sold]

    async def _wrong_site(self, count: int) -> list[Story]:
        sold = await self._sell(count, product="BRDG")
        return [(Visit("wrong_site", ticket.code, "DENY", "WRONG_SITE", ticket.key),) for ticket in sold]

    async def _too_early(self, count: int) -> list[Story]:
        sold = await self._sell(count, first=2, last=3)
        return [(Visit("too_early", ticket.code, "DENY", "TOO_EARLY", ticket.key),) for ticket in sold]

    async def _expired(self, count: int) -> list[Story]:
        sold = await self._sell(count, first=-3, last=-1)
        return [(Visit("expired", ticket.code, "DENY", "EXPIRED", ticket.key),) for ticket in sold]

    async def _not_a_ticket(self, count: int) -> list[Story]:
        texts = [
            "https://example.org/poster?from=gate",
            f"28{self._rng.randrange(10**16):016d}",
            "WIFI:S:Plaza;;",
        ]
        return [
            (Visit("not_a_ticket", f"{texts[n % len(texts)]}{n}", "DENY", "NOT_A_TICKET"),)
            for n in range(count)
        ]

    async def _external(self, count: int) -> list[Story]:
        codes = [self._ota_code() for _ in range(count)]
        first, last = ((self._today + timedelta(days=days)).isoformat() for days in (-1, 1))
        row = {"issuer": OTA, "product": "DAY1", "quantity": 1, "valid_from": first, "valid_until": last}
        await self._office.import_rows("tickets", [row | {"code": code} for code in codes])
        return [(_admit("external", code, ""),) for code in codes]

    async def _external_unlisted(self, count: int) -> list[Story]:
        return [
            (Visit("external_unlisted", self._ota_code(), "REFER", "UNLISTED_CODE"),) for _ in range(count)
        ]

    async def _elder(self, count: int) -> list[Story]:
        """Somebody who is free by age, as the document says; no list has to know of it."""
        born = date(self._today.year - 80, 1, 1)
        numbers = [_resident_number(born, self._rng.randrange(1000)) for _ in range(count)]
        return [(Visit("elder", number, "ADMIT", "STATUTORY_FREE"),) for number in numbers]

    async def _document(self, count: int) -> list[Story]:
        """A ticket that was bought on a passport: one right, by whichever of the two it is asked for."""
        sold = await self._sell(count)
        passports = [f"P{self._rng.randrange(10**8):08d}" for _ in sold]
        rows = [
            {"document_type": "passport", "document_number": number, "code": ticket.ticket_id}
            for number, ticket in zip(passports, sold, strict=True)
        ]
        await self._office.import_rows("documents", rows)
        return [
            (
                _admit("by_document", f"DOC:passport:{number}", ticket.key),
                Visit("already_used", ticket.code, "DENY", "ALREADY_USED", ticket.key),
            )
            for number, ticket in zip(passports, sold, strict=True)
        ]

    async def _member(self, count: int) -> list[Story]:
        subjects = [f"m-{self._rng.randrange(16**12):012x}" for _ in range(count)]
        row = {"group": "重庆好人", "valid_from": "2026-01-01", "valid_until": "2035-12-31"}
        await self._office.import_rows("groups", [row | {"subject": subject} for subject in subjects])
        codes = [await self._office.credit_code(subject) for subject in subjects]
        return [
            (
                Visit("member_first", code, "ADMIT", "FREE_VISIT"),
                Visit("member_second", code, "DENY", "FREE_VISIT_USED"),
            )
            for code in codes
        ]

    async def _credit(self, count: int) -> list[Story]:
        """Each line pays for two visits; the third is over its limit."""
        subjects = [f"c-{self._rng.randrange(16**12):012x}" for _ in range(count)]
        row = {"limit_fen": 2 * FARE_FEN + 2000, "per_visit_fen": FARE_FEN, "valid_until": "2035-12-31"}
        await self._office.import_rows("credit-lines", [row | {"subject": subject} for subject in subjects])
        codes = [await self._office.credit_code(subject) for subject in subjects]
        within = [Visit("credit_within", code, "ADMIT", "CREDIT_LINE") for code in codes]
        over = [Visit("credit_over", code, "DENY", "NO_CREDIT") for code in codes]
        return list(zip(within, within, over, strict=True))

    def _ota_code(self) -> str:
        return f"OTA-{self._rng.randrange(10**10):010d}"

    def _alter(self, code: str) -> str:
        """Return the code with one bit of its claims changed: readable, and not signed."""
        raw = bytearray(base45.decode(code.encode()[len(PREFIX) :]))
        raw[self._rng.randrange(24, 40)] ^= 1
        return (PREFIX + base45.encode(bytes(raw))).decode("ascii")


def _resident_number(born: date, serial: int) -> str:
    """Return a made-up number with the check character of GB 11643."""
    body = f"500232{born:%Y%m%d}{serial:03d}"
    total = sum(int(digit) << (17 - place) for place, digit in enumerate(body))
    return body + "0123456789X"[(1 - total) % 11]


def _swapped(code: str) -> str:
    """Return the short code with two neighbours that have changed places."""
    place = next(n for n in range(12) if "-" not in code[n : n + 2] and code[n] != code[n + 1])
    return code[:place] + code[place + 1] + code[place] + code[place + 2 :]


def line_up(
    stories: Sequence[Story], lanes: Sequence[str], rng: random.Random, *, first: int = 1
) -> Iterator[Guest]:
    """Yield all visitors in one order: each story in its own, mingled with the others, in turn at the lanes.

    A copy comes to another lane than its original. The visitors are numbered from `first`.
    """
    order = [number for number, story in enumerate(stories) for _ in story]
    rng.shuffle(order)
    told = [0] * len(stories)
    last: dict[int, Guest] = {}
    for count, number in enumerate(order, first - 1):
        visit = stories[number][told[number]]
        told[number] += 1
        before = last.get(number)
        lane = lanes[count % len(lanes)]
        if before is not None and visit.kind == "copy" and lane == before.lane:
            lane = lanes[(count + 1) % len(lanes)]
        guest = Guest(
            id=f"v{count + 1:03d}",
            kind=visit.kind,
            code=visit.code,
            expected=((visit.verdict, visit.reason),),
            key=visit.key,
            passes=visit.passes,
            follows=before.id if before else "",
            lane=lane,
        )
        last[number] = guest
        yield guest


def _admit(kind: str, code: str, key: str) -> Visit:
    return Visit(kind, code, "ADMIT", "TICKET", key)
