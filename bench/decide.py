"""What deciding costs: one decision on a day ticket and on a credit code with ten policies, and reading a signed code.

Facts are at hand, so nothing of a disk is in it. The code's text to verified claims stands beside one bare signature
check of the library that is used, measured turn by turn in the same run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from admission.codes import (
    CodeBook,
    Credential,
    IssuerKey,
    KeyUse,
    Rejected,
    TicketCode,
    Validity,
    issue_credit_code,
    issue_ticket_code,
    parse,
)
from admission.decision import decide
from admission.entitlements import CreditLine, Membership, SubjectRights
from admission.facts import Facts, ListInfo
from admission.keys import new_signing_key
from admission.policy import FreeVisit, Policy, Scope
from admission.reasons import Reason
from admission.terms import Days, Reentry, Terms
from admission.tickets import Product, Ticket, TicketStatus
from config.policy_file import load_policy

ROUNDS = 4000
POLICIES = 10
BARS_US = {"day_ticket": 20.0, "credit_entitlement": 60.0}
BAR_RATIO = 1.5
NOW_S = int(datetime(2026, 5, 1, 4, tzinfo=UTC).timestamp())


def measure(policy: Policy) -> dict[str, Any]:
    """Return the times of all parts, microseconds, and what they are compared with."""
    key = new_signing_key(Ed25519PrivateKey.generate(), demo=True)
    book = CodeBook({key.key_id: IssuerKey(key.key_id, key.public.key, frozenset(KeyUse))}, (), bytes(32))
    validity = Validity(NOW_S - 3600, NOW_S + 3600, NOW_S - 600)
    ticket_text = issue_ticket_code(b"ticket-00001", "DAY1", validity, key).encode()
    ticket_code, credit = (
        parse(ticket_text, book),
        parse(issue_credit_code("s1", validity, key).encode(), book),
    )
    assert not isinstance(ticket_code, Rejected)
    assert not isinstance(credit, Rejected)
    day = _ticket_facts(Terms())
    rich = _ticket_facts(
        Terms(
            unlimited=True,
            per_day=3,
            reentry=Reentry.SAME_DAY_AFTER_EXIT,
            blackouts=(Days(first=date(2026, 6, 1), last=date(2026, 6, 3)),),
        )
    )
    decided = {
        "day_ticket": (ticket_code, day, policy),
        "pass_with_terms": (ticket_code, rich, policy),
        "credit_entitlement": (credit, _subject_facts(), _ten_policies(policy)),
    }
    found: dict[str, Any] = {}
    for name, (credential, facts, rules) in decided.items():
        _assert_admits(credential, facts, rules)
        found[f"{name}_us"] = _p50(_times(partial(decide, credential, facts, rules, NOW_S * 1000)))
    found |= _against_bare_check(ticket_text, book)
    found["bars_us"] = BARS_US
    found["bar_ratio"] = BAR_RATIO
    return found


def _against_bare_check(text: bytes, book: CodeBook) -> dict[str, float]:
    """Return what reading a code takes beside one signature check of as many bytes, turn by turn."""
    signed = bytes(120)
    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key(), private.sign(signed)
    reads: list[float] = []
    checks: list[float] = []
    assert isinstance(parse(text, book), TicketCode)
    for _ in range(ROUNDS):
        reads.append(_time(lambda: parse(text, book)))
        checks.append(_time(lambda: public.verify(signature, signed)))
    read_us, check_us = _p50(reads), _p50(checks)
    return {"read_code_us": read_us, "bare_check_us": check_us, "read_ratio": round(read_us / check_us, 3)}


def _assert_admits(credential: Credential, facts: Facts, policy: Policy) -> None:
    reason = decide(credential, facts, policy, NOW_S * 1000).reason
    assert reason in (Reason.TICKET, Reason.FREE_VISIT), reason


def _ticket_facts(terms: Terms) -> Facts:
    product = Product("DAY1", "日票", "Day", frozenset({"fairy"}), terms)
    ticket = Ticket(TicketStatus.VALID, "DAY1", 1, 0, 0, NOW_S - 3600, NOW_S + 3600)
    return Facts("fairy", "1", ListInfo(1, NOW_S - 60), product, ticket, box_id="B1")


def _subject_facts() -> Facts:
    members = tuple(Membership(f"group-{n}", 0, NOW_S + 3600) for n in range(3))
    rights = SubjectRights(members, {}, CreditLine(50_000, 10_000, 0, NOW_S + 3600))
    return Facts("fairy", "1", ListInfo(1, NOW_S - 60), subject=rights, box_id="B1")


def _ten_policies(policy: Policy) -> Policy:
    """Return the policy with ten free-visit policies, of which the last fits."""
    first = NOW_S // 86_400
    day = date(1970, 1, 1) + timedelta(days=first)
    visits = tuple(
        FreeVisit(
            f"policy-{n}",
            frozenset({"group-0" if n == POLICIES - 1 else f"others-{n}"}),
            state_owned_only=True,
            scope=Scope.PER_SITE,
            first_day=day - timedelta(days=30),
            last_day=day + timedelta(days=30),
            quantity=1,
            clause="",
        )
        for n in range(POLICIES)
    )
    return replace(policy, free_visits=visits)


def _times(work: Callable[[], Any]) -> list[float]:
    for _ in range(200):
        work()
    return [_time(work) for _ in range(ROUNDS)]


def _time(work: Callable[[], Any]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1000


def _p50(times: Sequence[float]) -> float:
    return round(sorted(times)[len(times) // 2], 2)


def main() -> int:
    """Measure, and print one JSON object; 1 when a bar is missed."""
    report = measure(load_policy(Path(__file__).parents[1] / "config" / "policies" / "default.toml"))
    print(json.dumps(report))
    within = all(report[f"{name}_us"] <= bar for name, bar in BARS_US.items())
    return 0 if within and report["read_ratio"] <= BAR_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
