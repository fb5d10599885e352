"""Lists that cannot be believed, at a running box: kept out, the old one stays, and health says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from admission.codes import ticket_key
from admission.keys import SigningKey
from sync.protocol import LIST_FORMAT, ListManifest, encode_manifest, manifest_topic
from tests.admission.makers import STRANGER
from tests.central.programs import Ear, Mosquitto, listening
from tests.faults.box import LIST_SIGNER, Box, running, ticket_code, valid_ticket
from tests.offline_cache.list_files import build_list
from tests.support.waiting import until_asked

pytestmark = pytest.mark.e2e


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[TestServer]:
    """The centre's HTTP side: the files that were built."""
    (tmp_path / "shop").mkdir()
    application = web.Application()
    application.router.add_static("/lists", tmp_path / "shop")
    server = TestServer(application)
    await server.start_server()
    yield server
    await server.close()


def announce(ear: Ear, folder: Path, version: int, key: SigningKey) -> None:
    """Build a list that knows ticket 1 and publish its manifest, signed by a key."""
    path = folder / "shop" / f"{version}.sqlite"
    tickets = {ticket_key(b"ticket-%05d" % 1): valid_ticket()}
    sha256 = build_list(path, version=version, tickets=tickets)
    manifest = ListManifest(
        format=LIST_FORMAT,
        site_id="fairy",
        version=version,
        as_of_s=0,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        path=f"/lists/{path.name}",
    )
    ear.say(manifest_topic("fairy"), encode_manifest(manifest, key))


async def listed(box: Box, version: int) -> None:
    """Wait until the box uses a version."""

    async def is_so() -> bool:
        return bool((await box.state())["list_version"] == version)

    await until_asked(is_so, f"list {version}")


async def test_list_with_a_bad_signature(tmp_path: Path, broker: Mosquitto, shop: TestServer) -> None:
    """A list that a stranger signed is kept out; the old one goes on admitting, and readiness says what is wrong."""
    broker.start()
    box = Box(tmp_path, broker_port=broker.port, list_port=shop.port or 0)
    async with running(box):
        await box.link_becomes(up=True)
        await box.says("no list")
        with listening(broker.port, manifest_topic("fairy")) as ear:
            announce(ear, tmp_path, 1, LIST_SIGNER)
            await listed(box, 1)
            assert (await box.get("/readyz"))[0] == 200
            announce(ear, tmp_path, 2, STRANGER)
            await box.says("a list was refused")
            status, ready = await box.get("/readyz")
            assert (status, ready["ready"], (await box.state())["list_version"]) == (503, False, 1)
            assert (await box.scan(ticket_code(1)))[1]["reason"] == "TICKET"
            announce(ear, tmp_path, 3, LIST_SIGNER)
            await listed(box, 3)
            await box.no_longer_says("a list was refused")


async def test_kept_list_that_was_damaged(tmp_path: Path, broker: Mosquitto, shop: TestServer) -> None:
    """A list whose file went bad while the box was off is left out with a word, and the same version heals it."""
    broker.start()
    box = Box(tmp_path, broker_port=broker.port, list_port=shop.port or 0)
    with listening(broker.port, manifest_topic("fairy")) as ear:
        async with running(box):
            await box.link_becomes(up=True)
            announce(ear, tmp_path, 1, LIST_SIGNER)
            await listed(box, 1)
            await box.stop()
        [kept] = (box.state_path / "lists").glob("*.list")
        data = bytearray(kept.read_bytes())
        data[5000] ^= 1
        kept.write_bytes(data)
        async with running(box):
            await box.says("the kept list cannot be used")
            await box.link_becomes(up=True)
            announce(ear, tmp_path, 1, LIST_SIGNER)
            await listed(box, 1)
            await box.no_longer_says("the kept list cannot be used")
