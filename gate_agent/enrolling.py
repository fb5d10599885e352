"""How a box becomes one of the site's: it makes its keys, and the centre gives it everything else for a token.

Of what the centre gives, nothing is written before all of it is here; keys are made once, and neither they nor a hash
key or policy that is there are written over. The same command again, with the same token, gets the same answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from admission.keys import public_key_text
from config.settings import Profile, Settings
from gate_agent.identity import box_key, write_secret
from sync.enrolment import AUTHORITY_PATH, ENROL_PATH, EnrolAnswer, EnrolRequest, Token
from sync.tls import web_context

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_MAX_ANSWER_BYTES = 1 << 20


class EnrolError(Exception):
    """The box is not enrolled; says what to do."""


async def enrol(settings: Settings, folder: Path, token: Token) -> list[str]:
    """Enrol the box at its centre and return its public key and what was written, in words; EnrolError says why not."""
    _check(settings, folder)
    key = box_key(folder / settings.state_dir, demo=settings.profile is Profile.DEMO)
    name = f"{settings.site_id}/{settings.box_id}"
    request = EnrolRequest(
        secret=token.secret,
        box_id=settings.box_id,
        site_id=settings.site_id,
        public_key=public_key_text(key.public),
        certificate_request=_request(name, _tls_key(folder / settings.centre.tls_key_file)),
    )
    try:
        answer = await _ask(settings.centre.url, token, request)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EnrolError(f"{settings.centre.url} cannot be asked: {type(error).__name__} {error}") from error
    await asyncio.to_thread(_check_keys, settings, folder, answer)
    written = await asyncio.to_thread(_keep, settings, folder, answer)
    return [f"key: {request.public_key}", *written]


def _check(settings: Settings, folder: Path) -> None:
    """Refuse before anything is asked: a token is good once."""
    centre = settings.centre
    missing = [name for name in ("tls_ca_file", "tls_cert_file", "tls_key_file") if not getattr(centre, name)]
    if missing:
        raise EnrolError(f"centre.{missing[0]}: missing; say in the settings where it is to be kept")
    address = urlsplit(centre.url)
    if address.scheme != "https" and not _is_loopback(address.hostname or ""):
        raise EnrolError(
            "centre.url: the centre's answer holds the site's secrets, and goes over https alone"
        )
    if not folder.is_dir():
        raise EnrolError(f"{folder}: no such folder")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _ask(url: str, token: Token, request: EnrolRequest) -> EnrolAnswer:
    """Say who the box is to the centre that made the token, and to nobody else."""
    authority = await _authority(url, token)
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.post(
            url + ENROL_PATH,
            data=msgspec.json.encode(request),
            headers={"Content-Type": "application/json"},
            ssl=web_context(authority),
        ) as response,
    ):
        body = await response.content.read(_MAX_ANSWER_BYTES)
    if response.status != 200:
        raise EnrolError(f"the centre refuses: {_refusal(body) or response.status}")
    try:
        return msgspec.json.decode(body, type=EnrolAnswer)
    except msgspec.DecodeError as error:
        raise EnrolError(f"{url} answers with something else: {error}") from error


async def _authority(url: str, token: Token) -> str:
    """Return the authority's certificate (PEM): whoever gave it, it is the one that the token names."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(url + AUTHORITY_PATH, ssl=unverified) as response,
    ):
        text = (await response.content.read(_MAX_ANSWER_BYTES)).decode("ascii", errors="replace")
    try:
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).digest()
    except ValueError as error:
        raise EnrolError(f"{url} is no centre: it answered {response.status}") from error
    if fingerprint != token.fingerprint:
        raise EnrolError(f"{url} is not the centre that made this token: its authority is another one")
    return text


def _refusal(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _check_keys(settings: Settings, folder: Path, answer: EnrolAnswer) -> None:
    """Refuse what would make the box trust two centres."""
    if answer.list_key not in settings.list_keys:
        raise EnrolError(
            f"list_keys: the centre signs lists with {answer.list_key}; put it into the settings"
        )
    if answer.issuer_key not in {table.key for table in settings.issuer_keys}:
        raise EnrolError(
            f"issuer_keys: the centre issues codes with {answer.issuer_key}; put it into the settings"
        )
    path = folder / settings.hash_key_file
    if path.exists() and path.read_text("ascii", errors="replace").strip() != answer.hash_key:
        raise EnrolError(f"{path}: holds the hash key of another centre; move it away if that is meant")


def _keep(settings: Settings, folder: Path, answer: EnrolAnswer) -> list[str]:
    """Write what the centre gave where the settings look for it; return what was written."""
    centre, policy = settings.centre, folder / settings.policy_file
    written = []
    for what, name, text in (
        ("hash key", settings.hash_key_file, answer.hash_key),
        ("list token", centre.list_token_file, answer.list_token),
        ("authority", centre.tls_ca_file, answer.authority),
        ("certificate", centre.tls_cert_file, answer.certificate),
    ):
        if name and text:
            write_secret(folder / name, text)
            written.append(f"{what}: {folder / name}")
    if not policy.exists():  # lists bring newer ones
        write_secret(policy, answer.policy)
        written.append(f"policy: {policy}")
    return written


def _tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of the box's certificate, made now if there is none."""
    if path.exists():
        try:
            known = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise EnrolError(f"{path}: not a private key (PEM)") from error
        if not isinstance(known, ec.EllipticCurvePrivateKey) or not isinstance(known.curve, ec.SECP256R1):
            raise EnrolError(f"{path}: not a key over P-256")
        return known
    made = ec.generate_private_key(ec.SECP256R1())
    text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    write_secret(path, text)
    return made


def _request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()
