"""The centre's settings: one TOML file, every mistake reported at once."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from admission.policy import Policy
from central.keys import CentreKeys, KeyFileError, load_keys
from central.pace import ListPace
from config.loader import SettingsError, load
from config.policy_file import load_policy
from sync.mqtt import Broker

_T = TypeVar("_T")
_MIN_TOKEN_LENGTH = 16


class Profile(StrEnum):
    """What the centre is run for; only the demo accepts demo keys."""

    SITE = "site"
    DEMO = "demo"


class HttpTable(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API and the console listen, and who may use them."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8090
    """0 takes a free port, which the ready line names."""
    token: str = ""
    """Bearer token for everything; may be empty only on a loopback address."""
    list_token: str = ""
    """Bearer token with which boxes fetch lists, and nothing else."""
    tls_cert_file: str = ""
    """File with the certificate (PEM, chain included) for HTTPS; empty for HTTP."""
    tls_key_file: str = ""
    """File with the certificate's private key (PEM)."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


Hours = Annotated[int, msgspec.Meta(ge=1)]


class Provider(StrEnum):
    """Who moves money."""

    NONE = "none"
    MOCK = "mock"


class PaymentsTable(msgspec.Struct, frozen=True, kw_only=True):
    """How what is owed is asked for."""

    provider: Provider = Provider.NONE
    """`mock` keeps made-up books in a file of its own, for trying out; real ones are adapters still to be written."""
    retry_after_h: Annotated[tuple[Hours, ...], msgspec.Meta(min_length=1)] = (1, 6, 24, 48)
    """How long to wait after each time that a payment is declined; declined once more, it is in default."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings; paths are relative to the settings file."""

    profile: Profile = Profile.SITE
    store: str
    """SQLite file with everything the centre knows; made when missing."""
    lists: str
    """Folder for the built lists."""
    keys: str
    """Folder with issuer.key, list.key and hash.key."""
    policy: str
    """File with sites, fares, free visits and limits."""
    access: str = ""
    """Folder for the brokers' access rules and the list of revoked certificates; empty: they are kept by hand."""
    broker: Broker
    http: HttpTable = HttpTable()
    list_pace: ListPace = ListPace()
    payments: PaymentsTable = PaymentsTable()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with the files they name."""

    settings: Settings
    policy: Policy
    keys: CentreKeys
    store: Path
    lists: Path
    access: Path | None
    tls: ssl.SSLContext | None


def load_settings(path: Path) -> Loaded:
    """Return the settings in `path` with the policy and the keys; SettingsError with every mistake."""
    try:
        settings = load(path.read_text(encoding="utf-8"), Settings)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{path}: cannot be read: {error}",)) from error
    problems = list(_token_problems(settings.http))
    folder = path.parent
    keys = _attempt("keys", lambda: load_keys(folder / settings.keys), problems)
    policy = _attempt("policy", lambda: load_policy(folder / settings.policy), problems)
    tls = _attempt("http", lambda: _tls(settings.http, folder), problems)
    broker = settings.broker.based_at(folder)
    problems += [f"broker.{problem}" for problem in broker.tls_problems()]
    if keys and keys.has_demo and settings.profile is not Profile.DEMO:
        problems.append("keys: demo keys, which only the profile demo accepts")
    if settings.payments.provider is Provider.MOCK and settings.profile is not Profile.DEMO:
        problems.append("payments.provider: the mock's money is made up, and only for the profile demo")
    if problems or keys is None or policy is None:
        raise SettingsError(tuple(problems))
    return Loaded(
        settings=msgspec.structs.replace(settings, broker=broker),
        policy=policy,
        keys=keys,
        store=folder / settings.store,
        lists=folder / settings.lists,
        access=folder / settings.access if settings.access else None,
        tls=tls,
    )


def _attempt(name: str, read: Callable[[], _T], problems: list[str]) -> _T | None:
    """Return what `read` returns; None when it finds the file wrong, which is added to `problems`."""
    try:
        return read()
    except SettingsError as error:
        problems += [f"{name}: {problem}" for problem in error.problems]
    except KeyFileError as error:
        problems.append(f"{name}: {error}")
    return None


def _tls(http: HttpTable, folder: Path) -> ssl.SSLContext | None:
    """Return what makes the service speak HTTPS; None where it is to speak HTTP."""
    if bool(http.tls_cert_file) != bool(http.tls_key_file):
        raise SettingsError(("tls_key_file: certificate and key come together or not at all",))
    if not http.tls_cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(folder / http.tls_cert_file, folder / http.tls_key_file)
    except OSError as error:
        raise SettingsError((f"tls_cert_file: {http.tls_cert_file}: {error}",)) from error
    return context


def _token_problems(http: HttpTable) -> list[str]:
    problems = [
        f"http.{name}: shorter than {_MIN_TOKEN_LENGTH} characters"
        for name, token in (("token", http.token), ("list_token", http.list_token))
        if token and len(token) < _MIN_TOKEN_LENGTH
    ]
    if not http.token and not http.is_loopback:
        problems.append("http.token: needed unless http.host is a loopback address")
    if http.list_token and http.list_token == http.token:
        problems.append("http.list_token: must not be http.token, which may sell tickets")
    return problems
