"""A centre whose clock ran ahead takes back what it signed meanwhile, and its boxes go by the right time again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admission.changes import ListChanges
from admission.reasons import Reason
from sync.protocol import SiteBoxes, decode_boxes, decode_changes, encode_boxes, encode_changes
from tests.central.programs import until
from tests.contracts.site import BOX_ID, LANES, SITE_ID, Site, running_site, topics

pytestmark = pytest.mark.e2e
YEARS_S = 10 * 365 * 86_400


def problems(site: Site) -> str:
    """What the box says is wrong with it."""
    return str(site.box.caller.get("/readyz").json()["problems"])


def run_ahead(site: Site) -> None:
    """Say what a centre says whose clock is ten years ahead: that no right has changed, and which boxes there are."""
    lists = site.keys.lists
    find_key = {lists.key_id: lists.public.key}.get
    heard = decode_boxes(site.heard_on(topics(BOX_ID).boxes)[-1], find_key)
    later_s = int(time.time()) + YEARS_S
    later = SiteBoxes(site_id=SITE_ID, as_of_ms=later_s * 1000, boxes=heard.boxes)
    site.ear.say(topics(BOX_ID).boxes, encode_boxes(later, lists))
    told = decode_changes(until(lambda: site.heard_on(topics(BOX_ID).changes))[-1], find_key)
    wild = ListChanges(
        site_id=SITE_ID, from_revision=told.to_revision, to_revision=told.to_revision, as_of_s=later_s
    )
    site.ear.say(topics(BOX_ID).changes, encode_changes(wild, lists))


def test_a_wild_clock_of_the_centre_s_is_taken_back(tmp_path: Path) -> None:
    """Meanwhile no ticket of today is good; then the box believes its own clock again, over a restart too."""
    with running_site(tmp_path) as site:
        before, after = site.sell(2)
        site.wait_for_list()
        assert site.box.scan(before["code"])["reason"] == Reason.TICKET
        run_ahead(site)
        until(lambda: "the clock is behind" in problems(site))
        assert site.box.scan(after["code"], LANES[1])["reason"] == Reason.EXPIRED
        site.box.stop()
        site.box.start()
        assert "the clock is behind" in problems(site), "it is kept over a restart"
        reply = site.centre.post("/v1/time/repair", {"now": datetime.now(UTC).isoformat()})
        assert reply.status == 200
        until(lambda: "the clock" not in problems(site))
        assert site.box.scan(after["code"], LANES[1])["reason"] == Reason.TICKET
        site.box.stop()
        site.box.start()
        assert "the clock" not in problems(site)
