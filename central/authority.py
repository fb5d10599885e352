"""The centre's certificate authority: who is who on the brokers, for as long as the centre says so.

It knows two kinds: clients, named as the brokers' access rules name them, and servers, named by their addresses.
A certificate is X.509 over P-256, which every broker and TLS library reads.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

COMMON_NAME = "Scenic Gate"
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 825
LIST_DAYS = 3650
"""A broker refuses everybody once its revocation list has run out: that must not happen to a site left alone."""
_BACKDATED = timedelta(days=1)
"""No two clocks agree: what was made just now must not be too young for anyone."""


class NotARequestError(ValueError):
    """What was sent is not a certificate request signed with its own key over P-256."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Its certificate, which everyone may have, and its key, which nobody may."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate: by it a box knows this authority before it knows anything else."""
        return self.certificate.fingerprint(hashes.SHA256())

    def certificate_text(self) -> str:
        """Return its certificate as PEM."""
        return pem(self.certificate)

    def key_text(self) -> str:
        """Return its key as PEM: a secret."""
        return key_pem(self.key)

    def for_key(self, key: EllipticCurvePublicKey, name: str, now: datetime) -> x509.Certificate:
        """Return a certificate for a client called `name` that has made its own key."""
        return self._issue(key, name, ExtendedKeyUsageOID.CLIENT_AUTH, (), now)

    def for_client(self, name: str, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        """Return a new key and its certificate for a client called `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self.for_key(key.public_key(), name, now), key

    def for_server(
        self, addresses: Sequence[str], now: datetime
    ) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        """Return a new key and its certificate for a server that is reached at `addresses`, of which there is one."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = tuple(map(_general_name, addresses))
        return self._issue(key.public_key(), addresses[0], ExtendedKeyUsageOID.SERVER_AUTH, names, now), key

    def revocation_list(self, serials: Iterable[int], now: datetime) -> str:
        """Return the signed list of certificates that count no more, as PEM."""
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - _BACKDATED)
            .next_update(now + timedelta(days=LIST_DAYS))
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            made = made.add_revoked_certificate(entry)
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def listed(self, list_pem: bytes) -> set[int] | None:
        """Return the serial numbers on a revocation list (PEM); None when it is none, or not of this authority."""
        try:
            revoked = x509.load_pem_x509_crl(list_pem)
        except ValueError:
            return None
        if not revoked.is_signature_valid(self.key.public_key()):
            return None
        return {entry.serial_number for entry in revoked}

    def _issue(
        self,
        key: EllipticCurvePublicKey,
        name: str,
        use: x509.ObjectIdentifier,
        alternatives: Sequence[x509.GeneralName],
        now: datetime,
    ) -> x509.Certificate:
        builder = (
            _builder(name, self.certificate.subject, key, now, CERTIFICATE_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(_issued_by(self.key.public_key()), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def new_authority(now: datetime) -> Authority:
    """Make an authority that trusts nobody but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The name is the authority's own: two of one name in a trust store are told apart by nothing but luck.
    name = f"{COMMON_NAME} {os.urandom(4).hex()}"
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, _name(name), key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def read_authority(certificate_text: str, key_text: str) -> Authority:
    """Return the authority whose two files these are; ValueError when they are not, or do not belong together."""
    certificate = x509.load_pem_x509_certificate(certificate_text.encode())
    key = load_pem_private_key(key_text.encode(), None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("not a key over P-256")  # noqa: TRY004 - it is the text that is wrong
    if certificate.public_key() != key.public_key():
        raise ValueError("the certificate is not this key's")
    return Authority(certificate, key)


def read_request(request_pem: bytes) -> EllipticCurvePublicKey:
    """Return the key for which a certificate is asked, proved to be the asker's; NotARequestError."""
    try:
        request = x509.load_pem_x509_csr(request_pem)
        key, is_signed = request.public_key(), request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotARequestError("not a certificate request (PEM)") from error
    if not is_signed:
        raise NotARequestError("the request is not signed with its own key")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotARequestError("the request's key is not one over P-256")
    return key


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def key_pem(key: EllipticCurvePrivateKey) -> str:
    """Return a private key as PEM, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def write_pair(certificate: x509.Certificate, key: EllipticCurvePrivateKey, stem: Path) -> tuple[Path, Path]:
    """Write `stem`.crt, for all to read, and `stem`.key, for its owner; return the two."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    certificate_path, key_path = (stem.with_name(stem.name + ending) for ending in (".crt", ".key"))
    key_path.unlink(missing_ok=True)
    with os.fdopen(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key_pem(key))
    certificate_path.write_text(pem(certificate), "ascii")
    certificate_path.chmod(0o644)
    return certificate_path, key_path


def utc_now() -> datetime:
    """Return the time by the machine's clock."""
    return datetime.now(UTC)


def _builder(
    name: str, issuer: x509.Name, key: EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _issued_by(key: EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)
