"""The composition root: settings to adapters to lanes, in one task group."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from admission.events import ClockNoted
from admission.facts import Attempt, Facts, ListInfo
from admission.policy import Policy
from admission.staff import Role
from config.policy_file import load_policy
from config.settings import (
    Profile,
    Settings,
    code_book,
    list_keys,
    neighbour_keys,
)
from gate_agent.brokers import centre_broker, centre_context, site_broker
from gate_agent.clock import SystemClock, TrustedClock
from gate_agent.clock_notes import ClockNotes
from gate_agent.gates import make_gate
from gate_agent.health import BoxView, Neighbourhood, Post
from gate_agent.heartbeat import Heartbeat
from gate_agent.identity import box_key
from gate_agent.lane import Rules
from gate_agent.metrics import MetricSources
from gate_agent.notify import Supervisor, supervisor_of
from gate_agent.policy_in_force import PolicyInForce
from gate_agent.roster import Member, Roster
from gate_agent.secret_files import read_hash_key, read_secret
from gate_agent.timekeeping import Timekeeper
from gate_agent.upkeep import Upkeep
from gate_agent.watchdog import Watchdog
from gate_agent.web.server import Doors, WebServer
from offline_cache.capacity import CapacityMemory
from offline_cache.database import Database
from offline_cache.journal import Outbox
from offline_cache.lists import ListShelf
from offline_cache.neighbours import Neighbours
from offline_cache.opening import StoreFullError
from offline_cache.overlay import Overlay
from offline_cache.proved_time import ProvedTime
from offline_cache.space import Space
from offline_cache.store import Store
from sync.capacity import CapacityFeed
from sync.centre_link import BoxIdentity, CentreLink, Feeds
from sync.changes import ChangeFeed
from sync.downlink import Downlink
from sync.fetch import Fetcher
from sync.introductions import Introductions
from sync.mqtt import Broker
from sync.protocol import BoxTopics, Health, SiteBoxes
from sync.site_link import SiteLink, Timepiece
from sync.time_repairs import TimeRepairs

log = logging.getLogger(__name__)

EPOCH_BYTES = 8
ADMISSION_ID_BYTES = 16
GOODBYE_S = 2.0
"""How long a stopping agent tries to send what it recorded last."""

DECODE_GRACE_MS = 10_000
"""How long after its camera's timeouts a lane may still go without decoding a frame."""
NOBODY = Supervisor()

_random = secrets.SystemRandom().random


def spare_collector() -> None:
    """Take what start-up made out of the garbage collector's sight: going through it would stop every lane for long."""
    gc.collect()
    gc.freeze()


class App:
    """One box, from opened memory to closed memory."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        policy: Policy,
        database: Database,
        supervisor: Supervisor = NOBODY,
    ) -> None:
        state_dir = folder / settings.state_dir
        self._settings = settings
        self._clock = TrustedClock(SystemClock())
        self._session = secrets.token_hex(8)
        self._database = database
        self._supervisor = supervisor
        self._space = Space(state_dir)
        self._space.look()
        database.make_room = self._space.make_room
        self._in_force = PolicyInForce(settings.site_id, policy, self._adopt)
        self._shelf = ListShelf(
            state_dir / "lists",
            settings.site_id,
            database,
            on_use=lambda used: self._in_force.take(used.policy_document),
        )
        self._overlay = Overlay(settings.site_id, database, lambda: self._shelf.revision)
        self._outbox = Outbox(database)
        self._store = Store(
            database,
            self._shelf,
            box_id=settings.box_id,
            site_id=settings.site_id,
            new_id=lambda: secrets.token_bytes(ADMISSION_ID_BYTES),
            room=lambda: self._space.room,
        )
        identity = BoxIdentity(
            BoxTopics(settings.site_id, settings.box_id),
            box_key(state_dir, demo=settings.profile is Profile.DEMO),
            self._session,
        )
        self._upkeep = Upkeep(database, self._overlay, self._space, self._clock)
        self._proved_time = ProvedTime(database)
        self._timekeeper = Timekeeper(self._clock, self._proved_time, self._signed_s)
        self._clock_notes = ClockNotes(self._clock, self._note_clock)
        broker, neighbours = site_broker(settings, folder), Neighbours(database)
        self._site_link = self._make_site_link(broker, identity, neighbours) if broker else None
        self._link = self._make_link(folder, identity, neighbours)
        rules = Rules(code_book(settings, read_hash_key(folder / settings.hash_key_file)), policy)
        self._gates = {
            table.id: make_gate(table, rules, self._store, self._clock, self._wake)
            for table in settings.lanes
        }
        self._heartbeat = self._make_heartbeat()
        self._view = self._make_view()
        sources = MetricSources(database.commits, state_dir)
        self._web = WebServer(self._view, sources, _doors(settings, folder))

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then let the last visitor out, send what can be sent, and end."""
        await self._shelf.load()
        await self._overlay.load()
        await self._timekeeper.recall()
        orphans = await self._store.open_epoch(secrets.token_bytes(EPOCH_BYTES), self._clock.wall_ms())
        await self._clock_notes.look()
        port = await self._web.start()
        spare_collector()
        log.info("ready", extra={"web_port": port, "unclosed_admissions": orphans})
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(job) for job in self._jobs()]
                self._supervisor.notify("READY=1")
                await stopping.wait()
                self._supervisor.notify("STOPPING=1")
                await self._drain()
                for task in running:
                    task.cancel()
        finally:
            await self._web.stop()
            await self._shelf.close()
            log.info("stopped")

    def _jobs(self) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._heartbeat.run()
        yield self._link.run()
        if self._site_link is not None:
            yield self._site_link.run()
        yield self._upkeep.run()
        yield self._timekeeper.run()
        yield self._clock_notes.run()
        for gate in self._gates.values():
            yield gate.turnstile.run()
            yield gate.lane.watch()
            if gate.source is not None:
                yield gate.source.run()
                yield gate.lane.serve(gate.source)

    async def _drain(self) -> None:
        timeout_s = max(table.turnstile.release_timeout_ms for table in self._settings.lanes) / 1000 + 3
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(gate.lane.drain() for gate in self._gates.values()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while self._link.is_up and (
                    await self._outbox.backlog() or await self._outbox.diary_backlog()
                ):
                    await asyncio.sleep(0.05)
        self._link.leave()

    async def _note_clock(self, at_ms: int, note: ClockNoted) -> bool:
        with contextlib.suppress(StoreFullError):
            await self._store.note_clock(note, at_ms)
            self._wake()
            return True
        return False

    def _take_back_time(self, at_ms: int) -> None:
        self._overlay.lower_as_of(at_ms // 1000)
        self._timekeeper.take_back(at_ms)

    def _signed_s(self) -> int:
        info = self._list_info()
        return info.tickets_as_of_s if info else 0

    async def _health(self) -> Health:
        view = self._view
        neighbourhood = self._neighbourhood()
        return Health(
            list_version=self._shelf.version,
            list_age_s=view.list_age_s(),
            backlog=await view.backlog(),
            lanes={lane_id: post.lane.state.name for lane_id, post in view.posts.items()},
            problems=view.problems(),
            site_link_up=neighbourhood.is_up if neighbourhood else None,
            neighbours=list(neighbourhood.neighbours) if neighbourhood else [],
        )

    def _list_info(self) -> ListInfo | None:
        info = self._shelf.info
        return info.with_changes(self._overlay.as_of_s) if info else None

    def _make_link(self, folder: Path, identity: BoxIdentity, neighbours: Neighbours) -> CentreLink:
        settings, centre = self._settings, self._settings.centre
        keys = {key_id: key.key for key_id, key in list_keys(settings).items()}
        fetcher = Fetcher(
            centre.url, read_secret(folder, centre.list_token_file), centre_context(settings, folder)
        )
        return CentreLink(
            centre_broker(settings, folder),
            identity,
            self._outbox,
            Feeds(
                Downlink(
                    self._shelf,
                    fetcher.fetch,
                    settings.site_id,
                    keys.get,
                    _random,
                    self._space.has_room_for,
                ),
                ChangeFeed(self._overlay, fetcher.get, settings.site_id, keys.get, _random),
                CapacityFeed(
                    CapacityMemory(self._database, settings.box_id),
                    identity.topics,
                    keys.get,
                    self._clock.wall_ms,
                ),
                Introductions(neighbours, settings.site_id, keys.get, self._introduce),
                TimeRepairs(
                    self._proved_time,
                    settings.site_id,
                    keys.get,
                    lambda: self._shelf.revision,
                    self._take_back_time,
                ),
            ),
            self._health,
            self._clock.wall_ms,
            _random,
        )

    def _make_site_link(self, broker: Broker, identity: BoxIdentity, neighbours: Neighbours) -> SiteLink:
        return SiteLink(
            broker,
            identity,
            neighbour_keys(self._settings).items(),
            self._outbox,
            neighbours,
            Timepiece(lambda: self._clock.monotonic_ns() / 1e9, self._sure_ms, self._clock.hear),
            _random,
        )

    def _sure_ms(self) -> int | None:
        return self._clock.wall_ms() if self._clock.is_sure and not self._clock.is_hearsay else None

    async def _introduce(self, word: SiteBoxes) -> None:
        if self._site_link is not None:
            await self._site_link.introduce(word)

    def _neighbourhood(self) -> Neighbourhood | None:
        link = self._site_link
        return Neighbourhood(link.is_up, link.neighbours(), link.problems) if link else None

    def _problems(self) -> list[str]:
        """Return what is wrong with the box itself: its clock, its disk, its list, its policy."""
        return [
            problem
            for problem in (
                self._clock.problem,
                self._space.problem,
                self._shelf.problem,
                self._in_force.problem,
            )
            if problem
        ]

    def _adopt(self, policy: Policy) -> None:
        for gate in self._gates.values():
            gate.lane.adopt(policy)

    def _wake(self) -> None:
        """Something was recorded: tell whoever is to know."""
        self._link.wake()
        if self._site_link is not None:
            self._site_link.wake()

    def _make_heartbeat(self) -> Heartbeat:
        limits_ms = {
            table.id: table.camera.open_timeout_ms + table.camera.read_timeout_ms + DECODE_GRACE_MS
            for table in self._settings.lanes
            if table.camera
        }
        return Heartbeat(
            self._supervisor,
            Watchdog(limits_ms),
            partial(self._database.write, _nothing),
            lambda: {lane_id: gate.signs() for lane_id, gate in self._gates.items()},
            self._clock,
        )

    def _make_view(self) -> BoxView:
        return BoxView(
            box_id=self._settings.box_id,
            site_id=self._settings.site_id,
            session=self._session,
            posts={
                lane_id: Post(gate.lane, gate.eye, gate.attendant) for lane_id, gate in self._gates.items()
            },
            list_info=self._list_info,
            policy_version=lambda: self._in_force.policy.version,
            set_clock=self._clock.set,
            own_problems=self._problems,
            link_is_up=lambda: self._link.is_up,
            link_problems=lambda: self._link.problems,
            backlog=self._outbox.backlog,
            diary_backlog=self._outbox.diary_backlog,
            clock=self._clock,
            neighbourhood=self._neighbourhood,
        )


def _nothing(_: object) -> None:
    """Write nothing: what is wanted is the commit."""


async def run(settings: Settings, folder: Path) -> None:
    """Run the box that `settings` describe, with paths from `folder`, until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    policy = load_policy(folder / settings.policy_file)
    database = await Database.open(folder / settings.state_dir)
    try:
        await App(settings, folder, policy, database, supervisor_of(os.environ, os.getpid())).run(stopping)
    finally:
        await database.close()


async def known_facts(
    settings: Settings, folder: Path, attempt_by: Callable[[Policy], Attempt]
) -> tuple[Facts, Policy]:
    """Return what the box knows about an attempt, and the policy in force; StoreError when it cannot be read.

    The agent may run beside.
    """
    state_dir = folder / settings.state_dir
    database = await Database.peek(state_dir)
    try:
        shelf = ListShelf(state_dir / "lists", settings.site_id, database)
        in_force = PolicyInForce(settings.site_id, load_policy(folder / settings.policy_file), lambda _: None)
        await shelf.load()
        if shelf.in_use is not None:
            in_force.take(shelf.in_use.policy_document)
        store = Store(database, shelf, box_id=settings.box_id, site_id=settings.site_id, new_id=bytes)
        facts = await store.facts(attempt_by(in_force.policy))
        await shelf.close()
        return facts, in_force.policy
    finally:
        await database.close()


def _doors(settings: Settings, folder: Path) -> Doors:
    """Return where the web service listens, and to whom."""
    table = settings.web
    members = [
        Member(staff.id, Role[staff.role.name], read_secret(folder, staff.token_file))
        for staff in settings.staff
    ]
    tls = None
    if table.tls_cert_file:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / table.tls_cert_file, folder / table.tls_key_file)
    return Doors(table.host, table.port, read_secret(folder, table.token_file), Roster(members), tls)
