"""The web application: routes, who may use them, and how errors look."""

from __future__ import annotations

from aiohttp import web

from central.settings import HttpTable
from central.web.auth import auth_middleware
from central.web.boxes import BoxRoutes
from central.web.centre import Centre
from central.web.errors import errors_middleware
from central.web.files import FileRoutes
from central.web.imports import ImportRoutes
from central.web.keys import KeyRoutes
from central.web.lists import ListRoutes
from central.web.payments import PaymentRoutes
from central.web.phone import PhoneRoutes
from central.web.reports import ReportRoutes
from central.web.tickets import TicketRoutes
from central.web.time import TimeRoutes

MAX_BODY_BYTES = 64 << 20
"""Half a million tickets as CSV fit."""


_KINDS = (
    TicketRoutes,
    KeyRoutes,
    ImportRoutes,
    ReportRoutes,
    ListRoutes,
    FileRoutes,
    PhoneRoutes,
    PaymentRoutes,
    BoxRoutes,
    TimeRoutes,
)


def make_app(centre: Centre, http: HttpTable) -> web.Application:
    """Return the application that serves `centre`."""
    middlewares = (errors_middleware, auth_middleware(http))
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    for kind in _KINDS:
        app.add_routes(kind(centre).routes())
    return app
