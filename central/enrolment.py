"""How a box becomes known: a one-time invitation, and the certificate that it gets for it.

An invitation is worth one request: the same request again gets the same answer, as the answer may have been lost;
another request does not. A box that enrols again has its earlier certificates revoked.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, delete, exists, insert, select, update

from central.authority import Authority, pem
from central.rights import known_rows, merge
from central.schema import boxes, certificates, invitations, ledger

SECRET_BYTES = 16


class InvitationError(ValueError):
    """The invitation is unknown, was used by somebody else, or has run out."""


class RecordStandsError(ValueError):
    """The box has a record that was signed with another key: no other machine can go on with it."""


class UnknownBoxError(ValueError):
    """No box has this name."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who a box says it is: its name, the key it signs with as ID:KEY, and the key that its certificate is to name."""

    box_id: str
    site_id: str
    public_key: str
    tls_key: EllipticCurvePublicKey

    @property
    def digest(self) -> bytes:
        """What tells this request from every other."""
        said = (self.box_id, self.site_id, self.public_key)
        key = self.tls_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return sha256("\n".join(said).encode() + key).digest()


def invite(connection: Connection, box_id: str, site_id: str, until_s: int) -> str:
    """Return the secret with which this box may enrol until then, once; an earlier one of its own is void."""
    secret = secrets.token_hex(SECRET_BYTES)  # a token must not look like an option
    connection.execute(delete(invitations).where(invitations.c.box_id == box_id))
    row = {
        "secret_sha256": _digest(secret),
        "box_id": box_id,
        "site_id": site_id,
        "until_s": until_s,
        "used_by": None,
        "certificate": None,
    }
    connection.execute(insert(invitations), row)
    return secret


def enrol(connection: Connection, authority: Authority, secret: str, wanted: Enrolment, now_s: int) -> str:
    """Register the box and return its certificate as PEM.

    InvitationError and RecordStandsError say why it is not to be.
    """
    invitation = connection.execute(
        select(invitations).where(invitations.c.secret_sha256 == _digest(secret))
    ).first()
    if invitation is None or (invitation.box_id, invitation.site_id) != (wanted.box_id, wanted.site_id):
        raise InvitationError(f"no invitation for box {wanted.box_id} at site {wanted.site_id}")
    if now_s >= invitation.until_s:
        raise InvitationError("the invitation has run out; have another one made")
    if invitation.used_by == wanted.digest:
        return str(invitation.certificate)
    if invitation.used_by is not None:
        raise InvitationError("the invitation was used before; have another one made")
    _check_record(connection, wanted)
    certificate = authority.for_key(
        wanted.tls_key, f"{wanted.site_id}/{wanted.box_id}", datetime.fromtimestamp(now_s, UTC)
    )
    _register(connection, wanted)
    _revoke(connection, wanted.box_id, now_s)
    issued = {
        "serial": f"{certificate.serial_number:x}",
        "box_id": wanted.box_id,
        "until_s": int(certificate.not_valid_after_utc.timestamp()),
        "revoked_s": None,
    }
    connection.execute(insert(certificates), issued)
    used = {"used_by": wanted.digest, "certificate": pem(certificate)}
    connection.execute(
        update(invitations).where(invitations.c.secret_sha256 == invitation.secret_sha256).values(used)
    )
    return pem(certificate)


def bar(connection: Connection, box_id: str, now_s: int) -> int:
    """Shut the box out of every broker and return since when it is; UnknownBoxError. Its record stays as it is."""
    barred_s = connection.execute(select(boxes.c.barred_s).where(boxes.c.box_id == box_id)).first()
    if barred_s is None:
        raise UnknownBoxError(f"no box {box_id}")
    connection.execute(delete(invitations).where(invitations.c.box_id == box_id))
    _revoke(connection, box_id, now_s)
    if barred_s[0] is None:
        connection.execute(update(boxes).where(boxes.c.box_id == box_id).values(barred_s=now_s))
        return now_s
    return int(barred_s[0])


def admitted_boxes(connection: Connection) -> list[tuple[str, str]]:
    """Return the boxes that brokers are to let in: site and name."""
    query = select(boxes.c.site_id, boxes.c.box_id).where(boxes.c.barred_s.is_(None))
    rows = connection.execute(query.order_by(boxes.c.site_id, boxes.c.box_id))
    return [(row.site_id, row.box_id) for row in rows]


def revoked_serials(connection: Connection, now_s: int) -> list[int]:
    """Return the serial numbers that count no more and have not run out by themselves."""
    query = select(certificates.c.serial).where(
        certificates.c.revoked_s.is_not(None), certificates.c.until_s > now_s
    )
    return [int(serial, 16) for serial in connection.scalars(query.order_by(certificates.c.serial))]


def _check_record(connection: Connection, wanted: Enrolment) -> None:
    known = connection.scalar(select(boxes.c.public_key).where(boxes.c.box_id == wanted.box_id))
    if known in (None, wanted.public_key):
        return
    if connection.scalar(select(exists().where(ledger.c.box_id == wanted.box_id))):
        raise RecordStandsError(
            f"box {wanted.box_id} has a record, and this machine has not its key:"
            " give the machine another box_id, or the state folder of the old one"
        )


def _register(connection: Connection, wanted: Enrolment) -> None:
    row = {
        "box_id": wanted.box_id,
        "site_id": wanted.site_id,
        "public_key": wanted.public_key,
        "barred_s": None,
    }
    merge(connection, boxes, [row], known_rows(connection, boxes, [row]))


def _revoke(connection: Connection, box_id: str, now_s: int) -> None:
    connection.execute(
        update(certificates)
        .where(certificates.c.box_id == box_id, certificates.c.revoked_s.is_(None))
        .values(revoked_s=now_s)
    )


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
