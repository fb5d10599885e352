"""Puts the centre together and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from admission.short_codes import SHORT_CODES, short_code
from central.access import AccessFiles
from central.announcing import Announcer
from central.capacity import Allotting
from central.catalogue import put_in
from central.clock import wall_clock_ms
from central.intake import Folding, Intake
from central.introducing import introductions
from central.payments.collecting import Collecting
from central.payments.mock import MockProvider
from central.publishing import Publish, Publisher
from central.retained import Retained
from central.settings import HttpTable, Loaded, Profile, Provider
from central.store import Store, open_store
from central.time_repairs import signed_repairs
from central.web.centre import Centre
from central.web.server import make_app
from sync.mqtt import MqttLink
from sync.protocol import ALL_BATCHES, ALL_PRESENCE

SHUTDOWN_TIMEOUT_S = 5.0


async def serve(loaded: Loaded, on_ready: Callable[[str, int], None]) -> None:
    """Run the centre until SIGTERM or SIGINT; `on_ready(host, port)` is called once it answers requests."""
    loaded.store.parent.mkdir(parents=True, exist_ok=True)
    store = open_store(loaded.store)
    try:
        await _until_stopped(_run(loaded, store, on_ready))
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class _Voices:
    """Everything that the centre says to boxes of its own accord."""

    lists: Publisher
    changes: Announcer
    capacity: Allotting
    boxes: Retained
    time: Retained

    def link_is_up(self) -> None:
        """Say again what nobody may have heard."""
        self.lists.link_is_up()
        self.changes.wake()
        self.capacity.link_is_up()
        self.boxes_changed()

    def boxes_changed(self) -> None:
        """Tell each site of its boxes, and a new one what the others were told."""
        self.boxes.wake()
        self.time.wake()

    def rights_changed(self) -> None:
        """Tell what was committed."""
        self.changes.wake()
        self.lists.rights_changed()

    def settled(self, is_right: bool) -> None:
        """Tell what a payment has changed."""
        self.lists.uses_folded()
        if is_right:
            self.rights_changed()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Speak for as long as the tasks run."""
        for voice in (self.lists, self.changes, self.capacity, self.boxes, self.time):
            tasks.create_task(voice.run())


def _voices(loaded: Loaded, store: Store, publish: Publish) -> _Voices:
    key = loaded.keys.lists
    return _Voices(
        Publisher(store, loaded.lists, key, loaded.policy, loaded.settings.list_pace, wall_clock_ms, publish),
        Announcer(store, key, wall_clock_ms, publish),
        Allotting(store, key, loaded.policy, wall_clock_ms, publish),
        Retained(store, publish, lambda connection: introductions(connection, key, wall_clock_ms())),
        Retained(store, publish, partial(signed_repairs, key=key)),
    )


async def _run(loaded: Loaded, store: Store, on_ready: Callable[[str, int], None]) -> None:
    settings = loaded.settings

    def publish(topic: str, payload: bytes, *, retain: bool = False) -> bool:
        return link.publish(topic, payload, retain=retain)

    await store.run(partial(put_in, policy=loaded.policy))
    voices = _voices(loaded, store, publish)
    collecting = _collecting(loaded, store, voices.settled)

    def uses_folded() -> None:
        voices.lists.uses_folded()
        if collecting is not None:
            collecting.wake()

    folding = Folding(store, loaded.policy, uses_folded, lambda: intake.is_idle)
    intake = Intake(store, wall_clock_ms, publish, folding.rows_stored)
    link = MqttLink(
        settings.broker,
        subscriptions=(*ALL_BATCHES, ALL_PRESENCE),
        on_message=intake.offer,
        on_up=voices.link_is_up,
        random=random.random,
    )
    access = AccessFiles(store, loaded.keys.authority, loaded.access, wall_clock_ms)
    await access.write()

    async def boxes_changed() -> None:
        await access.write()
        voices.boxes_changed()

    centre = Centre(
        store=store,
        policy=loaded.policy,
        keys=loaded.keys,
        lists=loaded.lists,
        allow_demo_keys=settings.profile is Profile.DEMO,
        clock=wall_clock_ms,
        new_short_code=lambda: short_code(secrets.randbelow(SHORT_CODES)),
        rights_changed=voices.rights_changed,
        payments_changed=uses_folded,
        boxes_changed=boxes_changed,
        time_repaired=voices.time.wake,
        list_token=settings.http.list_token,
    )
    async with asyncio.TaskGroup() as tasks:
        voices.start(tasks)
        tasks.create_task(folding.run())
        if collecting is not None:
            tasks.create_task(collecting.run())
        tasks.create_task(intake.run())
        tasks.create_task(link.run())
        tasks.create_task(_serve_http(make_app(centre, settings.http), settings.http, loaded.tls, on_ready))


def _collecting(loaded: Loaded, store: Store, on_settled: Callable[[bool], None]) -> Collecting | None:
    """Return who asks for what is owed; None where nobody is set up to be asked."""
    table = loaded.settings.payments
    if table.provider is Provider.NONE:
        return None
    provider = MockProvider(loaded.store.with_suffix(".mock-payments.db"))
    return Collecting(store, loaded.policy, provider, table.retry_after_h, wall_clock_ms, on_settled)


async def _serve_http(
    app: web.Application, http: HttpTable, tls: ssl.SSLContext | None, on_ready: Callable[[str, int], None]
) -> None:
    """Serve `app` until cancelled."""
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, http.host, http.port, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        on_ready(host, port)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _until_stopped(work: Coroutine[None, None, None]) -> None:
    """Run `work` until it ends or a signal asks to stop; then cancel it and wait for its end."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
