"""Sample tickets of every kind, to hold in front of a real camera or to print."""

from __future__ import annotations

import html
import random
from collections.abc import Iterator
from urllib.parse import quote

import segno

from demo.cast import Casting
from demo.world import World

KINDS = {
    "valid": ("一日票", "Day ticket", "请通行；过闸后再出示：已使用", "admitted; after a passage: already used"),
    "short": ("短码（手输）", "Short code, to type", "请通行", "admitted"),
    "external": ("平台订单码（已导入）", "Online order, imported", "请通行", "admitted"),
    "member": ("守信人群首次免票", "Trusted group, first visit", "免票；第二次请购票", "free; the second visit is not"),
    "credit": ("信用额度：先游后付", "Credit line: pay later", "前两次放行；第三次超额", "two visits; then denied"),
    "screenshot": ("防复制票的截图", "Screenshot of a copy-proof one", "请出示实时票码", "referred: show it live"),
    "external_unlisted": ("平台订单码（未导入）", "Online order, not imported", "转人工查询订单", "referred to staff"),
    "refunded": ("已退门票", "Refunded ticket", "未放行：已退票", "denied: refunded"),
    "wrong_site": ("其他景区门票", "Ticket of another site", "未放行：不适用本景区", "denied: another site"),
    "too_early": ("未到日期", "Not valid yet", "未放行：未到时间", "denied: too early"),
    "expired": ("已过期", "Expired", "未放行：已过有效期", "denied: expired"),
    "forged": ("改动过的码", "Altered code", "未放行：签名无效", "denied: the signature is wrong"),
    "wrong_key": ("陌生机构签发", "Unknown issuer", "未放行：无法验证", "denied: cannot be verified"),
    "not_a_ticket": ("不是门票", "Not a ticket", "未放行：请打开入园码", "denied: not a ticket"),
}  # fmt: skip
"""What a sample is and what the gate is expected to say, zh and en."""

POSTER = "HTTPS://EXAMPLE.ORG/POSTER"

_HEAD = """<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>样票 Sample tickets · Scenic Gate</title>
<link rel="icon" href="/page/icon.svg">
<link rel="stylesheet" href="/page/samples.css">
</head>
<body>
<header>
<h1>样票 <span lang="en">Sample tickets</span></h1>
<p>举到摄像头前即可；可打印。每次打开本页都会签发新票。
<span lang="en">Hold one in front of the camera, or print them. Opening this page again issues new ones.</span></p>
<p>没有人真正过闸时，闸机到时自动关闭，核验记为“未通过”，同一张票可再次出示。
<span lang="en">When nobody walks through, the barrier closes by its time limit, the admission ends as abandoned,
and the same ticket can be shown again.</span></p>
<p><a href="{phone}">防复制票：手机上的实时票码</a>，每三秒更新，截图无效。
<span lang="en">The link opens a copy-proof ticket as a phone shows it: its code changes every three seconds, and a
picture of it admits nobody.</span></p>
<p class="back"><a href="/">← 返回实时页面 <span lang="en">back to the live page</span></a></p>
</header>
<main>
"""
_CARD = """<article>
<div class="code">{picture}</div>
<h2>{zh} <span lang="en">{en}</span></h2>
<p>{expect_zh} <span lang="en">{expect_en}</span></p>
</article>
"""
_FOOT = "</main>\n</body>\n</html>\n"


async def samples_html(world: World) -> str:
    """Have the centre issue one new sample of every kind and return the page that shows them."""
    async with world.back_office as office:
        casting = Casting(office, random.Random())
        codes = {kind: (await casting.stories({kind: 1}))[0][0].code for kind in KINDS}
        phone = f"http://127.0.0.1:{world.centre_port}/phone/#{quote(await casting.live_code())}"
    codes["not_a_ticket"] = POSTER  # the others of this kind hold no letters that a dense code can
    return "".join([_HEAD.format(phone=html.escape(phone)), *_cards(codes), _FOOT])


def _cards(codes: dict[str, str]) -> Iterator[str]:
    for kind, texts in KINDS.items():
        zh, en, expect_zh, expect_en = map(html.escape, texts)
        yield _CARD.format(
            picture=_picture(codes[kind]), zh=zh, en=en, expect_zh=expect_zh, expect_en=expect_en
        )


def _picture(code: str) -> str:
    """Return a code as SVG that fills its frame, with its quiet zone."""
    symbol = segno.make_qr(code, error="m", mode="alphanumeric")
    return symbol.svg_inline(border=4, light="#fff", omitsize=True)
