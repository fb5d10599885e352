"""Lists on their way down, over a real HTTP server onto a real shelf: what cannot be believed stays out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from admission.codes import ticket_key
from admission.keys import SigningKey
from offline_cache.database import Database
from offline_cache.lists import ListShelf
from sync import downlink as downlink_module
from sync.downlink import Downlink
from sync.fetch import Fetcher, FetchError
from sync.protocol import LIST_FORMAT, ListManifest, encode_manifest
from tests.admission.makers import SITE, STRANGER, signing_key, ticket
from tests.offline_cache.list_files import build_list
from tests.support.waiting import until

LIST_KEY = signing_key(7)
TOKEN = "token-for-lists-0001"
TAG = '"tag"'


@dataclass(slots=True)
class Library:
    """The centre's HTTP side: what it has by path, and what it makes of that when asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the file, or 404."""
        self.asked.append(request.path)
        self.tokens.append(request.headers.get("Authorization", ""))
        body = self.files.get(request.path)
        return web.Response(body=body) if body is not None else web.Response(status=404)

    async def cut_short(self, request: web.Request) -> web.StreamResponse:
        """Promise ten bytes, send three, and hang up."""
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"one")
        assert request.transport is not None
        request.transport.abort()
        return response


@dataclass(slots=True)
class Desk:
    """A shelf and what keeps it up to date."""

    shelf: ListShelf
    downlink: Downlink
    library: Library
    folder: Path

    def print(self, version: int, *, site_id: str = SITE, **content: Any) -> ListManifest:
        """Put a list of a version in the library and return the manifest that names it."""
        path = self.folder / f"{version}.made"
        tickets = {ticket_key(b"ticket-%05d" % version): ticket()}
        sha256 = build_list(path, version=version, site_id=site_id, tickets=tickets, **content)
        data = path.read_bytes()
        self.library.files[f"/v1/lists/{version}"] = data
        return ListManifest(
            format=LIST_FORMAT,
            site_id=SITE,
            version=version,
            as_of_s=0,
            sha256=sha256,
            size_bytes=len(data),
            path=f"/v1/lists/{version}",
        )

    def announce(self, manifest: ListManifest, key: SigningKey = LIST_KEY) -> None:
        """Let a manifest arrive."""
        self.downlink.receive(encode_manifest(manifest, key))

    async def has(self, version: int) -> None:
        """Wait until a version is in use."""
        await until(lambda: self.shelf.version == version, f"list {version} ({self.downlink.problem})")

    async def says(self, words: str) -> None:
        """Wait until the problem contains these words."""
        await until(lambda: words in self.downlink.problem, f"{words!r} instead of {self.downlink.problem!r}")

    async def says_nothing(self) -> None:
        """Wait until there is no problem."""
        await until(lambda: not self.downlink.problem, f"the end of {self.downlink.problem!r}")


@pytest.fixture
async def library() -> AsyncIterator[tuple[Library, str]]:
    """A library and its address."""
    library = Library()
    application = web.Application()
    application.router.add_get("/cut-short", library.cut_short)
    application.router.add_get("/{path:.*}", library.serve)
    async with TestServer(application) as server:
        yield library, str(server.make_url("")).rstrip("/")


@pytest.fixture
async def desk(
    tmp_path: Path, library: tuple[Library, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """An empty shelf whose downlink tries again soon."""
    monkeypatch.setattr(downlink_module, "backoff_s", lambda _attempt, _chance: 0.02)
    database = await Database.open(tmp_path / "state")
    shelf = ListShelf(tmp_path / "lists", SITE, database)
    find_key = {LIST_KEY.key_id: LIST_KEY.public.key}.get
    downlink = Downlink(shelf, Fetcher(library[1]).fetch, SITE, find_key, lambda: 0.0)
    running = asyncio.create_task(downlink.run())
    yield Desk(shelf, downlink, library[0], tmp_path)
    assert not running.done(), "the downlink has ended"
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await shelf.close()
    await database.close()


async def test_list_is_fetched_and_put_in_use(desk: Desk) -> None:
    """A signed manifest brings its list onto the shelf, and the next one the next."""
    for version in (3, 4):
        desk.announce(desk.print(version))
        await desk.has(version)
    await desk.says_nothing()
    kept = desk.folder / "lists"
    await until(lambda: [path.name[:2] for path in kept.glob("*.list")] == ["4-"], "the old file's end")


async def test_same_manifest_again_fetches_nothing(desk: Desk) -> None:
    """A manifest that the broker repeats at every connection costs no download."""
    manifest = desk.print(3)
    desk.announce(manifest)
    await desk.has(3)
    desk.announce(manifest)
    desk.announce(desk.print(4))
    await desk.has(4)
    assert desk.library.asked == ["/v1/lists/3", "/v1/lists/4"]


@pytest.mark.parametrize("how", ["stranger", "altered", "garbage", "empty"])
async def test_manifest_that_is_not_signed_by_a_list_key_is_kept_out(desk: Desk, how: str) -> None:
    """What no list key has signed is refused with a word of it; the list in use stays until a true one comes."""
    desk.announce(desk.print(3))
    await desk.has(3)
    true = encode_manifest(desk.print(4), LIST_KEY)
    forged = {
        "stranger": encode_manifest(desk.print(4), STRANGER),
        "altered": true[:-1] + bytes([true[-1] ^ 1]),
        "garbage": b"\xff\x00list",
        "empty": b"",
    }
    desk.downlink.receive(forged[how])
    assert desk.downlink.problem.startswith("a list was refused")
    assert desk.shelf.version == 3
    assert desk.library.asked == ["/v1/lists/3"]
    desk.downlink.receive(true)
    await desk.has(4)
    await desk.says_nothing()


async def test_complaint_ends_when_the_centre_repeats_the_list_in_use(desk: Desk) -> None:
    """After a forged manifest, the true one of the list in use says that nothing was missed."""
    manifest = desk.print(3)
    desk.announce(manifest)
    await desk.has(3)
    desk.announce(desk.print(4), STRANGER)
    assert desk.downlink.problem
    desk.announce(manifest)
    await desk.says_nothing()


@pytest.mark.parametrize(
    ("change", "words"),
    [({"site_id": "bridges"}, "for site bridges"), ({"format": LIST_FORMAT + 1}, "update this box")],
)
async def test_manifest_for_somebody_else_is_kept_out(desk: Desk, change: dict[str, Any], words: str) -> None:
    """A list of another site, or of a format that this box cannot read, is refused before it is fetched."""
    desk.announce(msgspec.structs.replace(desk.print(3), **change))
    assert words in desk.downlink.problem
    assert desk.library.asked == []


async def test_file_of_another_site_is_kept_out(desk: Desk) -> None:
    """A list whose own pages name another site is not used, whatever its manifest says."""
    desk.announce(desk.print(3))
    await desk.has(3)
    desk.announce(desk.print(4, site_id="bridges"))
    await desk.says("for site bridges")
    assert desk.shelf.version == 3


@pytest.mark.parametrize(
    "change", [lambda data: data[:-100], lambda data: data + b"more", lambda data: bytes(len(data))]
)
async def test_other_content_than_promised_is_kept_out(desk: Desk, change: Any) -> None:
    """Too little, too much, or something else: it is not taken in, and tried again until it is right."""
    desk.announce(desk.print(3))
    await desk.has(3)
    manifest = desk.print(4)
    true = desk.library.files["/v1/lists/4"]
    desk.library.files["/v1/lists/4"] = change(true)
    desk.announce(manifest)
    await desk.says("list 4 could not be taken in")
    assert desk.shelf.version == 3
    desk.library.files["/v1/lists/4"] = true
    await desk.has(4)
    await desk.says_nothing()


async def test_list_that_is_not_there_yet_is_tried_again(desk: Desk) -> None:
    """A 404 is said, and ends when the file is there."""
    manifest = desk.print(3)
    data = desk.library.files.pop("/v1/lists/3")
    desk.announce(manifest)
    await desk.says("404")
    await until(lambda: len(desk.library.asked) >= 3, "trying again")
    desk.library.files["/v1/lists/3"] = data
    await desk.has(3)


async def test_newer_manifest_ends_the_tries_for_an_older_one(desk: Desk) -> None:
    """A list that cannot be had is forgotten when the next one is announced."""
    manifest = desk.print(3)
    desk.library.files.clear()
    desk.announce(manifest)
    await desk.says("404")
    desk.announce(desk.print(4))
    await desk.has(4)
    asked = len(desk.library.asked)
    desk.announce(desk.print(5))
    await desk.has(5)
    assert desk.library.asked[asked:] == ["/v1/lists/5"]


async def test_older_version_is_ignored(desk: Desk) -> None:
    """A manifest of an earlier list, however well signed, replaces nothing and is not even fetched."""
    old = desk.print(3)
    desk.announce(desk.print(4))
    await desk.has(4)
    desk.announce(old)
    desk.announce(desk.print(5))
    await desk.has(5)
    assert desk.library.asked == ["/v1/lists/4", "/v1/lists/5"]


async def test_fetched_bytes_are_the_servers(tmp_path: Path, library: tuple[Library, str]) -> None:
    """A file arrives byte for byte, with the token that the box was given."""
    data = hashlib.sha256(b"seed").digest() * 40_000
    library[0].files["/v1/lists/1"] = data
    await Fetcher(library[1], TOKEN).fetch("v1/lists/1", tmp_path / "part", len(data), TAG)
    assert (tmp_path / "part").read_bytes() == data
    assert library[0].tokens == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("path", "size_bytes", "words"),
    [
        ("/v1/lists/1", 9, "more than the 9 bytes"),
        ("/v1/lists/1", 11, "10 bytes instead of the 11"),
        ("/v1/lists/2", 10, "404"),
        ("/cut-short", 10, "cannot be fetched"),
    ],
)
async def test_fetch_that_cannot_be_as_promised_fails(
    tmp_path: Path, library: tuple[Library, str], path: str, size_bytes: int, words: str
) -> None:
    """Whatever is not exactly the promised bytes is a FetchError that says why."""
    library[0].files["/v1/lists/1"] = b"ten bytes!"
    with pytest.raises(FetchError, match=words):
        await Fetcher(library[1]).fetch(path, tmp_path / "part", size_bytes, TAG)


async def test_centre_that_is_not_there_is_a_fetch_error(
    tmp_path: Path, library: tuple[Library, str]
) -> None:
    """Nobody at the address, and no disk to write to, are both FetchErrors."""
    with pytest.raises(FetchError, match="cannot be fetched"):
        await Fetcher("http://127.0.0.1:9").fetch("/v1/lists/1", tmp_path / "part", 1, TAG)
    library[0].files["/v1/lists/1"] = b"1"
    with pytest.raises(FetchError, match="cannot be fetched"):
        await Fetcher(library[1]).fetch("/v1/lists/1", tmp_path / "missing" / "part", 1, TAG)
