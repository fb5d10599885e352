"""What every test broker asks for: the certificates of one authority, made once for the whole run of tests."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
from paho.mqtt.client import Client

from central.access import AUTHORITY_FILE, REVOKED_FILE, RULES_FILE, rules
from central.authority import Authority, new_authority, utc_now, write_pair
from sync.mqtt import Broker

WITNESS = "witness"
"""Who hears and says everything: no box, and not the centre."""


@functools.cache
def authority() -> Authority:
    """The authority of all test brokers."""
    return new_authority(utc_now())


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    home = tempfile.TemporaryDirectory(prefix="scenic-gate-certificates-")
    (Path(home.name) / AUTHORITY_FILE).write_text(authority().certificate_text())
    return home


@functools.cache
def tls_files(name: str) -> dict[str, str]:
    """The settings with which `name` (SITE/BOX, or central) is let in."""
    stem = Path(_home().name) / name.replace("/", "-")
    certificate, key = write_pair(*authority().for_client(name, utc_now()), stem)
    return {
        "tls_ca_file": str(Path(_home().name) / AUTHORITY_FILE),
        "tls_cert_file": str(certificate),
        "tls_key_file": str(key),
    }


def tls_settings(name: str) -> str:
    """The same as lines of TOML."""
    return "".join(f"{setting} = {json.dumps(file)}\n" for setting, file in tls_files(name).items())


def secured(broker: Broker, name: str) -> Broker:
    """The same broker, entered with the certificate of `name`."""
    return msgspec.structs.replace(broker, **tls_files(name))


def secure(client: Client, name: str) -> None:
    """Give a plain client the certificate of `name`."""
    files = tls_files(name)
    client.tls_set(files["tls_ca_file"], files["tls_cert_file"], files["tls_key_file"])


def let_go(client: Client) -> None:
    """Have a client say goodbye, and close the sockets that paho leaves to the collector of garbage."""
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()


def server_files(folder: Path) -> tuple[Path, Path]:
    """The certificate and key of a broker on this machine, as files in `folder`."""
    return write_pair(*authority().for_server(["127.0.0.1"], utc_now()), folder / "server")


def broker_settings(folder: Path, port: int, boxes: Iterable[tuple[str, str]], more_rules: str = "") -> str:
    """A Mosquitto's settings as a site's has them, with the access rules of `boxes`; its files go into `folder`."""
    certificate, key = server_files(folder)
    (folder / AUTHORITY_FILE).write_text(authority().certificate_text())
    (folder / REVOKED_FILE).write_text(authority().revocation_list([], utc_now()))
    (folder / RULES_FILE).write_text(f"{rules(boxes)}\nuser {WITNESS}\ntopic readwrite #\n{more_rules}")
    return (
        f"listener {port} 127.0.0.1\nallow_anonymous false\nset_tcp_nodelay true\n"
        "require_certificate true\nuse_identity_as_username true\n"
        f"cafile {folder / AUTHORITY_FILE}\ncrlfile {folder / REVOKED_FILE}\n"
        f"certfile {certificate}\nkeyfile {key}\nacl_file {folder / RULES_FILE}\n"
    )
