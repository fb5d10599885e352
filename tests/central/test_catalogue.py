"""Products that the policy document defines, at a centre's start."""

from __future__ import annotations

import json
from dataclasses import replace

from admission.terms import Terms
from admission.tickets import Product
from central.catalogue import put_in
from central.schema import products
from tests.central.conftest import World
from tests.central.test_imports import rows
from tests.central.world import POLICY

PASS = Product("W99", "99元", "99 yuan", frozenset({"fairy", "bridges"}), Terms(unlimited=True, per_site=1))


async def test_policys_products_are_sold(world: World) -> None:
    """Put in once, changed when the document changes, and kept when it names them no longer."""
    run = world.centre.store.run
    assert await run(lambda sql: put_in(sql, replace(POLICY, products=(PASS,)))) == 1
    assert await run(lambda sql: put_in(sql, replace(POLICY, products=(PASS,)))) == 0
    (row,) = [row for row in await rows(world, products) if row.code == "W99"]
    assert json.loads(row.site_ids) == ["bridges", "fairy"]
    assert json.loads(row.terms) == {"per_site": 1, "unlimited": True}
    dearer = replace(PASS, name_en="199 yuan")
    assert await run(lambda sql: put_in(sql, replace(POLICY, products=(dearer,)))) == 1
    assert await run(lambda sql: put_in(sql, POLICY)) == 0
    (kept,) = [row for row in await rows(world, products) if row.code == "W99"]
    assert (kept.name_en, kept.revision > row.revision) == ("199 yuan", True)
