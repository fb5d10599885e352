"""Which boxes the centre names to each other."""

from __future__ import annotations

from sqlalchemy import insert, update

from central.introducing import site_boxes
from central.schema import boxes
from central.store import Store
from sync.protocol import SiteBox


async def test_each_site_hears_of_its_own_boxes(store: Store) -> None:
    """With their keys, and of those that are barred that they are."""

    def rows(*named: tuple[str, str]) -> list[dict[str, object]]:
        return [
            {"site_id": site, "box_id": box, "public_key": f"key of {box}", "revision": 1}
            for site, box in named
        ]

    await store.run(
        lambda sql: sql.execute(insert(boxes), rows(("fairy", "B2"), ("bridges", "B9"), ("fairy", "B1")))
    )
    await store.run(lambda sql: sql.execute(update(boxes).where(boxes.c.box_id == "B1").values(barred_s=7)))
    words = await store.read(lambda sql: site_boxes(sql, 5))
    assert [(word.site_id, word.as_of_ms, word.boxes) for word in words] == [
        ("bridges", 5, [SiteBox(box_id="B9", key="key of B9")]),
        (
            "fairy",
            5,
            [SiteBox(box_id="B1", key="key of B1", is_barred=True), SiteBox(box_id="B2", key="key of B2")],
        ),
    ]


async def test_no_boxes_no_words(store: Store) -> None:
    """A site without boxes is not told of any."""
    assert await store.read(lambda sql: site_boxes(sql, 5)) == []
