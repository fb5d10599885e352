"""Downloads that break off and go on, from the real centre's route behind a server that cuts."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from admission.keys import SigningKey
from central.web.ranges import send_file
from sync.downlink import Downlink
from sync.fetch import Fetcher, FetchError, unpack
from sync.protocol import ListManifest, encode_manifest, list_etag
from tests.central.world import KEYS, signing_key
from tests.offline_cache.listed_rows import PRODUCT, Memory, opened_memory, write_list
from tests.sync.listening import find_key, running, until

PADDING = bytes(range(256)) * 8192
"""Two megabytes: more than one chunk."""


SIZES = st.integers(0, 1 << 20)


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes()


@dataclass(slots=True)
class Depot:
    """Serves one file; the first `cuts` answers end after half of what they promised."""

    path: Path
    cuts: int = 0
    ranges: list[str] = field(default_factory=list)

    @property
    def packed(self) -> Path:
        """Where the packed file is, if there is one."""
        return self.path.with_name("packed")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer as the centre does, or break off."""
        return await self._serve(request, self.path)

    async def serve_packed(self, request: web.Request) -> web.StreamResponse:
        """Answer with the packed file, where there is one."""
        if not self.packed.exists():
            raise web.HTTPNotFound
        return await self._serve(request, self.packed)

    async def _serve(self, request: web.Request, path: Path) -> web.StreamResponse:
        self.ranges.append(f"{request.path} {request.headers.get('Range', '')}".removeprefix("/list "))
        etag = list_etag(hashlib.sha256(self.path.read_bytes()).digest())
        if not self.cuts:
            return await send_file(request, path, etag, "application/vnd.sqlite3")
        self.cuts -= 1
        data = _bytes_of(path)[request.http_range.start or 0 :]
        response = web.StreamResponse(status=206 if request.headers.get("Range") else 200)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


@dataclass(frozen=True, slots=True)
class Scene:
    """A depot with a list of version 2, a box that fetches from it, and the list's manifest."""

    depot: Depot
    url: str
    memory: Memory
    manifest: ListManifest

    def downlink(self) -> Downlink:
        """A box's downlink, as after a start."""
        return Downlink(self.memory.shelf, Fetcher(self.url).fetch, "fairy", find_key, lambda: 0.0)

    def payload(self, key: SigningKey = KEYS.lists, **other: int) -> bytes:
        """The manifest as it is published."""
        fields = {name: getattr(self.manifest, name) for name in ListManifest.__struct_fields__}
        return encode_manifest(ListManifest(**{**fields, **other}), key)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A depot and a box without a list."""
    file = tmp_path / "list"
    digest = write_list(file, [PRODUCT], version=2, revision=9, padding=PADDING)
    depot = Depot(file)
    app = web.Application()
    app.router.add_get("/list", depot.serve)
    app.router.add_get("/list.z", depot.serve_packed)
    manifest = ListManifest(
        format=1,
        site_id="fairy",
        version=2,
        as_of_s=0,
        sha256=digest,
        size_bytes=file.stat().st_size,
        path="/list",
        revision=9,
    )
    async with TestServer(app) as server, opened_memory(tmp_path / "box") as memory:
        yield Scene(depot, str(server.make_url("")).rstrip("/"), memory, manifest)


async def installed(scene: Scene) -> bool:
    """Whether the list is in use."""
    return scene.memory.shelf.version == 2


async def test_a_download_goes_on_where_it_broke_off(scene: Scene) -> None:
    """Each try asks only for what is missing, and the file is whole in the end."""
    scene.depot.cuts = 2
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(scene.payload())
        await until(lambda: installed(scene))
    starts = [int(text.removeprefix("bytes=").rstrip("-") or 0) for text in scene.depot.ranges]
    assert starts[0] == 0 < starts[1] < starts[2]
    assert scene.memory.shelf.revision == 9
    assert downlink.problem == ""


async def test_a_download_goes_on_after_a_restart(scene: Scene) -> None:
    """A process that was killed in the middle leaves a part, which the next one completes."""
    scene.depot.cuts = 1
    first = scene.downlink()
    async with running(first.run):
        first.receive(scene.payload())

        async def broke_off() -> bool:
            return "could not be taken in" in first.problem

        await until(broke_off)
    second = scene.downlink()
    async with running(second.run):
        second.receive(scene.payload())
        await until(lambda: installed(scene))
    assert scene.depot.ranges[-1] != ""


async def test_a_part_with_another_content_is_begun_anew(scene: Scene) -> None:
    """What a power cut left may be anything: the hash shows it, and nothing is built on it."""
    part = scene.memory.shelf.new_part(f"2-{scene.manifest.sha256.hex()}")
    part.write_bytes(bytes(scene.manifest.size_bytes))
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(scene.payload())
        await until(lambda: installed(scene))
    assert scene.depot.ranges == [""]


async def test_a_range_of_another_file_is_not_served(scene: Scene, tmp_path: Path) -> None:
    """The server sends all of it when the entity tag differs."""
    target = tmp_path / "target"
    target.write_bytes(b"other")
    await Fetcher(scene.url).fetch("/list", target, scene.manifest.size_bytes, '"other"')
    assert hashlib.sha256(target.read_bytes()).digest() == scene.manifest.sha256


@pytest.mark.parametrize("size_bytes", [100, 10_000_000])
async def test_a_file_of_another_size_is_refused(scene: Scene, tmp_path: Path, size_bytes: int) -> None:
    """Whether it is larger or smaller than the manifest says."""
    with pytest.raises(FetchError):
        await Fetcher(scene.url).fetch("/list", tmp_path / "target", size_bytes, '"any"')


async def test_a_manifest_below_the_floor_is_refused(scene: Scene) -> None:
    """Nothing is fetched, and the box says so, also where the newer list's file was lost."""
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(scene.payload())
        await until(lambda: installed(scene))
        asked = len(scene.depot.ranges)
        downlink.receive(scene.payload(version=1))
        assert "has had 2, and 1 is older" in downlink.problem
        assert len(scene.depot.ranges) == asked
        downlink.receive(scene.payload())

        async def is_well() -> bool:
            return downlink.problem == ""

        await until(is_well)


async def test_a_manifest_of_a_stranger_is_refused(scene: Scene) -> None:
    """Whoever can write to the broker cannot make lists."""
    downlink = scene.downlink()
    downlink.receive(scene.payload(signing_key("stranger")))
    assert "refused" in downlink.problem


# Packed lists ---------------------------------------------------------------------------------------------


def pack(scene: Scene, data: bytes | None = None) -> bytes:
    """Have the depot offer the list packed, or something else in its place; return the manifest that says so."""
    scene.depot.packed.write_bytes(zlib.compress(scene.depot.path.read_bytes()) if data is None else data)
    return scene.payload(packed_bytes=scene.depot.packed.stat().st_size)


async def test_a_packed_list_is_fetched_instead_and_goes_on_where_it_broke_off(scene: Scene) -> None:
    """The list itself is not fetched, and nothing of the packed file stays."""
    scene.depot.cuts = 2
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(pack(scene))
        await until(lambda: installed(scene))
    assert scene.depot.ranges[0] == "/list.z "
    assert all(asked.startswith("/list.z bytes=") for asked in scene.depot.ranges[1:])
    assert not leftovers(scene)


def leftovers(scene: Scene) -> list[str]:
    """Packed files that are still there."""
    return [path.name for path in scene.memory.shelf.new_part("x").parent.glob("*.z")]


async def test_without_the_packed_file_the_list_itself_is_fetched(scene: Scene) -> None:
    """A centre that has lost it says so."""
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(scene.payload(packed_bytes=10))
        await until(lambda: installed(scene))
    assert scene.depot.ranges == [""]


@pytest.mark.parametrize("damage", ["no zlib", "cut", "longer", "another list"])
async def test_a_packed_file_that_is_not_as_promised_is_kept_out(scene: Scene, damage: str) -> None:
    """Nothing is installed, the box says so, and it is fetched from its beginning again."""
    data = scene.depot.path.read_bytes()
    wrong = {
        "no zlib": b"x" * 1000,
        "cut": zlib.compress(data)[:-100],
        "longer": zlib.compress(data + b"x"),
        "another list": zlib.compress(bytes(len(data))),
    }
    downlink = scene.downlink()
    async with running(downlink.run):
        downlink.receive(pack(scene, wrong[damage]))

        async def is_refused() -> bool:
            return "could not be taken in" in downlink.problem

        await until(is_refused)
        assert scene.memory.shelf.version == 0
        downlink.receive(pack(scene))
        await until(lambda: installed(scene))
    assert not leftovers(scene)


@settings(max_examples=30)
@given(
    data=st.binary(max_size=300_000)
    | st.builds(lambda byte, count: byte * count, st.binary(max_size=3), SIZES)
)
def test_what_was_packed_unpacks_to_the_same(data: bytes) -> None:
    """Whatever it is: chance, which does not shrink, and one byte a million times."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sync.fetch._PAUSE_S", 0)
        packed, target = Path(folder) / "packed", Path(folder) / "target"
        packed.write_bytes(zlib.compress(data, 1))
        asyncio.run(unpack(packed, target, len(data)))
        assert target.read_bytes() == data
        for other in (len(data) - 1, len(data) + 1):
            with pytest.raises(FetchError):
                asyncio.run(unpack(packed, target, other))
