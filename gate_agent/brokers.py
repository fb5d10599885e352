"""The brokers that the settings name, with the secrets that let this box in."""

from __future__ import annotations

import ssl
from pathlib import Path

from config.settings import BrokerAccess, Settings
from gate_agent.secret_files import read_secret
from sync.mqtt import Broker
from sync.tls import web_context


def centre_broker(settings: Settings, folder: Path) -> Broker:
    """Return the broker between this box and the centre."""
    centre = settings.centre
    return _broker(centre, centre.broker_host, centre.broker_port, f"box-{_name(settings)}", folder)


def site_broker(settings: Settings, folder: Path) -> Broker | None:
    """Return the broker between this box and its neighbours; None for a box that is alone."""
    site = settings.site_broker
    # Its session has another name: it may be the centre's broker as well.
    return _broker(site, site.host, site.port, f"side-{_name(settings)}", folder) if site else None


def centre_context(settings: Settings, folder: Path) -> ssl.SSLContext | None:
    """Return what secures fetching from the centre by the site's own authority; None where the system's are enough."""
    name = settings.centre.tls_ca_file
    return web_context((folder / name).read_text("ascii")) if name else None


def broker_problems(settings: Settings, folder: Path) -> list[str]:
    """Return what is wrong with the certificates, each with the setting that names it."""
    own = {"centre": centre_broker(settings, folder), "site_broker": site_broker(settings, folder)}
    found = [
        f"{table}.{problem}" for table, broker in own.items() if broker for problem in broker.tls_problems()
    ]
    return [f"{problem}; `gate-agent enrol` fetches them" for problem in found]


def _name(settings: Settings) -> str:
    return f"{settings.site_id}-{settings.box_id}"


def _broker(access: BrokerAccess, host: str, port: int, client_id: str, folder: Path) -> Broker:
    return Broker(
        host=host,
        port=port,
        client_id=client_id,
        username=access.username,
        password=read_secret(folder, access.password_file),
        keepalive_s=access.keepalive_s,
        tls_ca_file=access.tls_ca_file,
        tls_cert_file=access.tls_cert_file,
        tls_key_file=access.tls_key_file,
    ).based_at(folder)
