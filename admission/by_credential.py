"""Which right a credential of any kind spends."""

from __future__ import annotations

from typing import assert_never

from admission.answers import Decision
from admission.by_document import decide_document
from admission.by_subject import decide_credit_code
from admission.by_ticket import decide_ticket_code, decide_unsigned_code
from admission.codes import Credential, CreditCode, DocumentCode, ExternalCode, ShortCode, TicketCode
from admission.facts import Facts
from admission.policy import Policy


def decide_right(
    credential: Credential, facts: Facts, policy: Policy, now_ms: int, *, is_proven: bool = False
) -> Decision:
    """Return what the credential's right gives, whatever stands against anybody's entry here and now.

    `is_proven` says that a member of staff has looked at whatever proof the right asks for.
    """
    match credential:
        case TicketCode():
            return decide_ticket_code(credential, facts, policy, now_ms, is_proven=is_proven)
        case ExternalCode() | ShortCode():
            return decide_unsigned_code(credential, facts, policy, now_ms, is_proven=is_proven)
        case CreditCode():
            return decide_credit_code(credential, facts, policy, now_ms, is_proven=is_proven)
        case DocumentCode():
            return decide_document(credential, facts, policy, now_ms, is_proven=is_proven)
        case _:
            assert_never(credential)
