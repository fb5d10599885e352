"""What secures a connection: whom it believes, at what time, and that it gives up on who says nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from central.authority import Authority, new_authority, utc_now, write_pair
from sync.mqtt import Broker
from sync.tls import broker_context, web_context


def server_context(
    folder: Path, authority: Authority, made: datetime, address: str = "127.0.0.1"
) -> ssl.SSLContext:
    """A server whose certificate was made at some time."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*write_pair(*authority.for_server([address], made), folder / "server"))
    return context


async def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Connect once; ssl.SSLError where the client does not believe the server."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=server) as listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        writer.close()


def contexts(folder: Path, authority: Authority) -> list[ssl.SSLContext]:
    """Both ways in which a box connects."""
    path = folder / "authority.crt"
    path.write_text(authority.certificate_text())
    return [broker_context(str(path), "", ""), web_context(authority.certificate_text())]


@pytest.mark.parametrize("away_days", [-4000, -826, 0, 3650])
async def test_the_dates_of_the_other_side_are_not_looked_at(tmp_path: Path, away_days: int) -> None:
    """A box that wakes ten years back, or ahead, still hears what time it is."""
    made = utc_now() + timedelta(days=away_days)
    authority = new_authority(made)
    for client in contexts(tmp_path, authority):
        await shake_hands(server_context(tmp_path, authority, made), client)


async def test_another_authority_and_another_address_are_not_believed(tmp_path: Path) -> None:
    """Dates are all that is left out."""
    own, other = new_authority(utc_now()), new_authority(utc_now())
    for client in contexts(tmp_path, own):
        for server in (
            server_context(tmp_path, other, utc_now()),
            server_context(tmp_path, own, utc_now(), "192.0.2.1"),
        ):
            with pytest.raises(ssl.SSLCertVerificationError):
                await shake_hands(server, client)


def test_a_listener_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no socket stays open."""
    monkeypatch.setattr("sync.tls.HANDSHAKE_TIMEOUT_S", 0.1)
    [client, _] = contexts(tmp_path, new_authority(utc_now()))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_connection(silent.getsockname()) as plain,
    ):
        wrapped = client.wrap_socket(plain, server_hostname="127.0.0.1", do_handshake_on_connect=False)
        with pytest.raises(TimeoutError):
            wrapped.do_handshake()
        assert wrapped.fileno() == -1


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"tls_cert_file": "box.crt"}, "tls_cert_file: of no use without tls_ca_file"),
        (
            {"tls_ca_file": "ca.crt", "tls_key_file": "box.key"},
            "tls_key_file: certificate and key come together",
        ),
        ({"tls_ca_file": "nowhere.crt"}, "tls_ca_file, tls_cert_file, tls_key_file: [Errno 2]"),
        ({"tls_ca_file": "box.key"}, "tls_ca_file, tls_cert_file, tls_key_file:"),
        (
            {"tls_ca_file": "ca.crt", "tls_cert_file": "ca.crt", "tls_key_file": "box.key"},
            "tls_ca_file, tls_cert",
        ),
        ({"tls_ca_file": "ca.crt", "tls_cert_file": "box.crt", "tls_key_file": "box.key"}, ""),
        ({"tls_ca_file": "ca.crt"}, ""),
        ({}, ""),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    """Before anything connects."""
    authority = new_authority(utc_now())
    (tmp_path / "ca.crt").write_text(authority.certificate_text())
    write_pair(*authority.for_client("fairy/B1", utc_now()), tmp_path / "box")
    broker = Broker(host="broker", port=8883, client_id="box", **files).based_at(tmp_path)  # type: ignore[arg-type]
    found = broker.tls_problems()
    assert len(found) == bool(problem)
    assert not problem or found[0].startswith(problem)
