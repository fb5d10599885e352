"""The whole examination: of a box at rest by trying everything, of a running one by asking it.

A running agent holds the cameras and its place at the brokers, and one box has one of each: what it says of them is
asked from its own service instead.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from config.settings import CameraTable, Driver, Profile, Settings
from gate_agent.brokers import centre_broker, centre_context, site_broker
from gate_agent.doctor.around import (
    ask_centre,
    examine_turnstile,
    judge_broker,
    judge_camera,
    judge_list,
)
from gate_agent.doctor.findings import Finding, fail, ok, warn
from gate_agent.doctor.machine import (
    examine_certificates,
    examine_clock,
    examine_disk,
    examine_engines,
    examine_secrets,
)
from gate_agent.identity import FILE_NAME
from gate_agent.secret_files import read_secret
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.opening import StateFolderInUseError, StoreError
from scanner.settings import CameraSettings
from scanner.trial import engine_problems, try_camera
from sync.mqtt import Broker
from sync.protocol import BoxTopics, Side, changes_path
from sync.trial import broker_problem


async def examine(settings: Settings, folder: Path) -> AsyncIterator[Finding]:
    """Yield what is found, as soon as it is."""
    state_dir = folder / settings.state_dir
    for finding in (*examine_disk(state_dir), *examine_secrets(_secrets(settings, folder))):
        yield finding
    for finding in examine_certificates(_certificates(settings, folder), datetime.now(UTC)):
        yield finding
    for finding in (*_keys(settings), *examine_engines(await asyncio.to_thread(engine_problems))):
        yield finding
    token = read_secret(folder, settings.centre.list_token_file)
    path, tls = changes_path(settings.site_id, 1 << 62), centre_context(settings, folder)
    found, ahead_s = await ask_centre(settings.centre.url, token, path, tls)
    for finding in (*found, *examine_clock(ahead_s)):
        yield finding
    async for finding in _box(settings, folder, state_dir):
        yield finding


async def _box(settings: Settings, folder: Path, state_dir: Path) -> AsyncIterator[Finding]:
    try:
        database = await Database.open(state_dir)
    except StateFolderInUseError:
        async for finding in _running(settings, folder):
            yield finding
        return
    except StoreError as error:
        yield fail(
            "memory",
            str(error),
            "do not delete it: the ledger in it may not be at the centre yet. Copy the folder away; if it is damaged,"
            " `gate-agent salvage SETTINGS` saves what can be read",
            "请勿删除：其中的账本可能尚未上传。请先复制整个文件夹；若已损坏，运行 `gate-agent salvage 设置文件`",
        )
        return
    try:
        async for finding in _resting(settings, folder, database, state_dir):
            yield finding
    finally:
        await database.close()


async def _resting(
    settings: Settings, folder: Path, database: Database, state_dir: Path
) -> AsyncIterator[Finding]:
    """Try everything that a running agent would hold."""
    backlog = await Outbox(database).backlog()
    yield ok("memory", f"sound; {backlog} entries wait for the centre; the agent does not run")
    shelf = ListShelf(state_dir / "lists", settings.site_id, database)
    await shelf.load()
    age_s = int(time.time()) - shelf.info.tickets_as_of_s if shelf.info else 0
    for finding in judge_list(settings.site_id, shelf.version, age_s, shelf.problem):
        yield finding
    await shelf.close()
    yield _port(settings)
    for lane in settings.lanes:
        if lane.camera is not None:
            trial = await asyncio.to_thread(try_camera, _tried(lane.camera))
            for finding in judge_camera(lane.id, lane.camera, trial):
                yield finding
        if lane.turnstile.driver is Driver.TCP:
            async for finding in examine_turnstile(lane):
                yield finding
    for name, broker, topic in _brokers(settings, folder):
        for finding in judge_broker(name, await broker_problem(broker, topic)):
            yield finding


def _tried(table: CameraTable) -> CameraSettings:
    return replace(msgspec.convert(table, CameraSettings, from_attributes=True), loop=False)


def _brokers(settings: Settings, folder: Path) -> Iterator[tuple[str, Broker, str]]:
    """Yield each broker with the topic on which this box hears itself."""
    topics, site = BoxTopics(settings.site_id, settings.box_id), site_broker(settings, folder)
    yield "centre", centre_broker(settings, folder), topics.presence
    if site is not None:
        yield "site", site, topics.side(Side.HEAD)


async def _running(settings: Settings, folder: Path) -> AsyncIterator[Finding]:
    """Ask the agent that runs what it holds."""
    host, port = settings.web.host, settings.web.port
    scheme = "https" if settings.web.tls_cert_file else "http"
    token = read_secret(folder, settings.web.token_file)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), headers=headers) as session,
            session.get(f"{scheme}://{host}:{port}/v1/state", ssl=False) as response,  # it is this machine
        ):
            state = await response.json()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        yield fail(
            "agent",
            f"it holds the box's memory and does not answer on {host}:{port}: {type(error).__name__}",
            "look at its log: journalctl -u gate-agent; restart it: systemctl restart gate-agent",
            "请查看日志 journalctl -u gate-agent，并重启：systemctl restart gate-agent",
        )
        return
    for finding in _judge_state(settings, state):
        yield finding


def _judge_state(settings: Settings, state: Mapping[str, Any]) -> Iterator[Finding]:
    box = state["box"]
    yield ok("agent", f"runs; {box['backlog']} entries wait for the centre")
    yield from judge_list(settings.site_id, box["list_version"], box["list_age_s"], "")
    links = {"centre": box["link_up"], "site": box["site_link_up"]}
    for name, is_up in links.items():
        if is_up is not None:
            yield from judge_broker(name, "" if is_up else "the running agent does not reach it")
    for lane in state["lanes"]:
        yield from _judge_lane(lane)
    for problem in box["problems"]:
        yield warn(
            "agent", problem, "see docs/OPERATING.md, what to do when something is wrong", "请参阅运行手册"
        )


def _judge_lane(lane: Mapping[str, Any]) -> Iterator[Finding]:
    camera = lane["camera"]
    if camera is not None and not camera["problem"]:
        yield ok(f"camera (lane {lane['id']})", f"{camera['fps']:.0f} pictures a second")
    if lane["barrier"] not in ("LOST", "OVERDUE"):
        yield ok(f"turnstile (lane {lane['id']})", f"barrier {lane['barrier']}")


def _port(settings: Settings) -> Finding:
    host, port = settings.web.host, settings.web.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return fail(
                f"web service ({host}:{port})",
                f"cannot listen: {error.strerror}",
                f"another program has the port (ss -ltnp 'sport = :{port}'); give web.port another one",
                "端口被占用或地址不可用；请更换 web.port",
            )
    return ok(f"web service ({host}:{port})", "the port is free")


def _secrets(settings: Settings, folder: Path) -> list[tuple[str, Path]]:
    """Return the files with secrets that are there; the settings' check has refused those that must be and are not."""
    names = {
        "hash_key_file": settings.hash_key_file,
        "centre.password_file": settings.centre.password_file,
        "centre.tls_key_file": settings.centre.tls_key_file,
        "centre.list_token_file": settings.centre.list_token_file,
        "site_broker.password_file": settings.site_broker.password_file if settings.site_broker else "",
        "site_broker.tls_key_file": settings.site_broker.tls_key_file if settings.site_broker else "",
        "web.token_file": settings.web.token_file,
    }
    paths = [(setting, folder / name) for setting, name in names.items() if name]
    paths += [(f"token of {staff.id}", folder / staff.token_file) for staff in settings.staff]
    own = folder / settings.state_dir / FILE_NAME
    return [*paths, ("the box's own key", own)] if own.exists() else paths


def _certificates(settings: Settings, folder: Path) -> list[tuple[str, Path]]:
    """Return this box's certificates; the settings' check has refused those that cannot be used."""
    site = settings.site_broker
    names = {
        "centre.tls_cert_file": settings.centre.tls_cert_file,
        "site_broker.tls_cert_file": site.tls_cert_file if site else "",
    }
    return [(setting, folder / name) for setting, name in names.items() if name]


def _keys(settings: Settings) -> Iterator[Finding]:
    """Say which keys are trusted; malformed ones are refused with the settings."""
    if not settings.issuer_keys:
        yield fail(
            "keys",
            "no issuer key: no signed ticket is admitted",
            "enter the centre's issuer key under [[issuer_keys]]; `central keys` prints it",
            "请在 [[issuer_keys]] 中填写中心的签发公钥（central keys 会显示）",
        )
    elif settings.profile is Profile.DEMO:
        yield warn(
            "keys", "the demo profile trusts demo keys", "use it for demonstrations only", "仅供演示使用"
        )
    else:
        yield ok("keys", f"{len(settings.issuer_keys)} issuer keys, {len(settings.list_keys)} list keys")
