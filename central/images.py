"""Pictures of codes, made to be read from a phone in the sun."""

from __future__ import annotations

from io import BytesIO

import segno

QUIET_ZONE_MODULES = 4
LARGEST_FINE_VERSION = 9
"""Above it the modules get so small that less correction and fewer modules read better."""


def code_svg(text: str) -> bytes:
    """Return the SVG picture of a code."""
    out = BytesIO()
    ticket_symbol(text).save(out, kind="svg", scale=8, border=QUIET_ZONE_MODULES, light="#fff", xmldecl=False)
    return out.getvalue()


def code_png(text: str, module_px: int = 8) -> bytes:
    """Return the PNG picture of a code, each module `module_px` wide."""
    out = BytesIO()
    ticket_symbol(text).save(out, kind="png", scale=module_px, border=QUIET_ZONE_MODULES)
    return out.getvalue()


def ticket_symbol(text: str) -> segno.QRCode:
    """The symbol of a ticket's text: error correction Q where that fits into version 9, otherwise M."""
    fine = segno.make_qr(text, error="q", mode="alphanumeric")
    if isinstance(fine.version, int) and fine.version <= LARGEST_FINE_VERSION:
        return fine
    return segno.make_qr(text, error="m", mode="alphanumeric")
