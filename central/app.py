"""Puts the centre together and runs it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import signal
import ssl
from collections.abc import Callable, Coroutine
from functools import partial

from aiohttp import web

from admission.short_codes import SHORT_CODES, short_code
from central.access import AccessFiles
from central.announcing import Announcer
from central.capacity import Allotting
from central.catalogue import put_in
from central.clock import wall_clock_ms
from central.intake import Folding, Intake
from central.payments.collecting import Collecting
from central.payments.mock import MockProvider
from central.publishing import Publisher
from central.settings import HttpTable, Loaded, Profile, Provider
from central.store import Store, open_store
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


async def _run(loaded: Loaded, store: Store, on_ready: Callable[[str, int], None]) -> None:
    settings = loaded.settings

    def publish(topic: str, payload: bytes, *, retain: bool = False) -> bool:
        return link.publish(topic, payload, retain=retain)

    await store.run(partial(put_in, policy=loaded.policy))
    publisher = Publisher(
        store,
        loaded.lists,
        loaded.keys.lists,
        loaded.policy,
        settings.list_pace,
        wall_clock_ms,
        publish,
    )
    announcer = Announcer(store, loaded.keys.lists, wall_clock_ms, publish)

    allotting = Allotting(store, loaded.keys.lists, loaded.policy, wall_clock_ms, publish)

    def rights_changed() -> None:
        announcer.wake()
        publisher.rights_changed()

    def link_is_up() -> None:
        publisher.link_is_up()
        announcer.wake()
        allotting.link_is_up()

    def settled(is_right: bool) -> None:
        publisher.uses_folded()
        if is_right:
            rights_changed()

    collecting = _collecting(loaded, store, settled)

    def uses_folded() -> None:
        publisher.uses_folded()
        if collecting is not None:
            collecting.wake()

    folding = Folding(store, loaded.policy, uses_folded, lambda: intake.is_idle)
    intake = Intake(store, wall_clock_ms, publish, folding.rows_stored)
    link = MqttLink(
        settings.broker,
        subscriptions=(*ALL_BATCHES, ALL_PRESENCE),
        on_message=intake.offer,
        on_up=link_is_up,
        random=random.random,
    )
    access = AccessFiles(store, loaded.keys.authority, loaded.access, wall_clock_ms)
    await access.write()
    centre = Centre(
        store=store,
        policy=loaded.policy,
        keys=loaded.keys,
        lists=loaded.lists,
        allow_demo_keys=settings.profile is Profile.DEMO,
        clock=wall_clock_ms,
        new_short_code=lambda: short_code(secrets.randbelow(SHORT_CODES)),
        rights_changed=rights_changed,
        payments_changed=uses_folded,
        boxes_changed=access.write,
        list_token=settings.http.list_token,
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publisher.run())
        tasks.create_task(announcer.run())
        tasks.create_task(allotting.run())
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
