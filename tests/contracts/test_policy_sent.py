"""A changed policy reaches the boxes with the next signed list, and they decide by it from the next visitor on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from admission.reasons import Reason
from tests.central.programs import until
from tests.contracts.site import LANES, POLICY_FILE, Site, running_site

pytestmark = pytest.mark.e2e
GROWN = "110105199003077657"


def in_force(site: Site) -> str:
    """The version of the policy by which the box decides."""
    said: str = site.box.caller.get("/v1/state").json()["box"]["policy_version"]
    return said


def govern(site: Site, text: str) -> None:
    """Give the centre another policy and start it again, at the same address."""
    site.centre_program.stop()
    settings = site.folder / "centre.toml"
    (site.folder / "policy.toml").write_text(text, "utf-8")
    port = site.centre_program.url.rpartition(":")[2]
    changed = re.sub(
        r'^policy = ".*"$', 'policy = "policy.toml"', settings.read_text("utf-8"), flags=re.MULTILINE
    )
    settings.write_text(changed.replace("port = 0", f"port = {port}"), "utf-8")
    site.centre_program.start()


def test_a_changed_policy_governs_the_boxes_without_a_hand_on_them(tmp_path: Path) -> None:
    """From 30 years on instead of 65; the box keeps it over a restart, and its admissions name it."""
    policy = POLICY_FILE.read_text("utf-8")
    with running_site(tmp_path) as site:
        assert in_force(site) == "2026.1"
        assert site.box.scan(GROWN)["reason"] == Reason.NO_ENTITLEMENT
        govern(
            site,
            policy.replace('version = "2026.1"', 'version = "2026.2"').replace(
                "from_age = 65", "from_age = 30"
            ),
        )
        until(lambda: in_force(site) == "2026.2")
        assert site.box.scan(GROWN)["reason"] == Reason.STATUTORY_FREE
        site.box.stop()
        site.box.start()
        assert in_force(site) == "2026.2"
        assert site.box.scan(GROWN, LANES[1])["reason"] == Reason.STATUTORY_FREE

        def named() -> set[str]:
            rows = site.centre.get("/v1/admissions").json()["admissions"]
            return {row["policy_version"] for row in rows if row["reason"] == Reason.STATUTORY_FREE}

        until(lambda: named() == {"2026.2"})
