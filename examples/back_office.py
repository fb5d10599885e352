"""A back office in about a hundred lines: sells, imports, refunds, and reads what happened at the gates.

    python back_office.py http://127.0.0.1:8090 --token TOKEN --wait 120

It needs nothing but Python and docs/openapi.yaml. Each run sells tickets of its own; with `--wait` it tells how the one
whose code it shows was used.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PRODUCT = "DAY1"
ISSUER = "ota"
GROUP = "中国好人"


class Centre:
    """The centre's HTTP API."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> Any:
        """Return what stands at a path."""
        return self._request(path, None, {})

    def post(self, path: str, value: Any, **headers: str) -> Any:
        """Post a value as JSON and return the answer."""
        return self._request(path, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)

    def upload(self, kind: str, text: str) -> str:
        """Import a CSV file and return what it changed, in words."""
        counts = self._request(f"/v1/imports/{kind}", text.encode(), {"Content-Type": "text/csv"})
        return ", ".join(f"{count} {what}" for what, count in counts.items())

    def _request(self, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        request = Request(self._url + path, body, self._headers | headers)  # noqa: S310 - the operator's address
        with urlopen(request, timeout=10) as response:  # noqa: S310
            return json.load(response)


def main() -> int:
    """Do a back office's day and return the exit status."""
    parser = argparse.ArgumentParser(description="A day at the back office, over the centre's HTTP API")
    parser.add_argument("url", help="the centre's address, as http://127.0.0.1:8090")
    parser.add_argument("--token", default="", help="the centre's bearer token, if it asks for one")
    parser.add_argument("--site", default="", help="the site to sell for; otherwise the first that has a box")
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for a use")
    options = parser.parse_args()
    centre = Centre(options.url, options.token)
    try:
        return _day(centre, options.site or _site_with_a_box(centre), options.wait)
    except HTTPError as error:
        say("refused", f"{error.code} {error.read().decode()}")
    except OSError as error:
        say("no answer", str(error))
    return 1


def say(what: str, text: str) -> None:
    """Tell people, one line at a time."""
    sys.stdout.write(f"{what:<12}{text}\n")
    sys.stdout.flush()


def _site_with_a_box(centre: Centre) -> str:
    sites = centre.get("/v1/summary")["sites"]
    return str(next((site for site in sites if site["list_version"]), sites[0])["site_id"])


def _day(centre: Centre, site: str, wait_s: float) -> int:
    run = secrets.randbelow(10**9)  # so that runs do not meddle with each other
    today = datetime.now(UTC).date()
    days = {"valid_from": str(today - timedelta(days=1)), "valid_until": str(today + timedelta(days=1))}
    from_until = ",".join(days.values())

    header = "code,name_zh,name_en,site_ids"
    say("product", centre.upload("products", f"{header}\n{PRODUCT},一日票,Day ticket,{site}\n"))
    # Whoever asks again under the same name after a lost answer gets the same tickets, and not twice as many.
    order = {"product": PRODUCT, "count": 2, **days}
    shown, refunded = centre.post("/v1/tickets", order, **{"Idempotency-Key": f"run-{run}"})["tickets"]
    say("sold", f"{shown['key']} {refunded['key']}")

    external = f"OTA-{run:010d}"
    header = "issuer,code,product,quantity,valid_from,valid_until"
    say("external", centre.upload("tickets", f"{header}\n{ISSUER},{external},{PRODUCT},1,{from_until}\n"))
    member, payer = f"member-{run}", f"payer-{run}"
    header = "subject,group,valid_from,valid_until"
    say("group", centre.upload("groups", f"{header}\n{member},{GROUP},{from_until}\n"))
    header = "subject,limit_fen,per_visit_fen,valid_until"
    say("credit", centre.upload("credit-lines", f"{header}\n{payer},20000,20000,{days['valid_until']}\n"))
    say("refund", centre.upload("refunds", f"code,refunded\n{refunded['ticket_id']},1\n"))

    say("REFUNDED", refunded["code"])
    say("EXTERNAL", external)
    for what, subject in (("MEMBER", member), ("CREDIT", payer)):
        say(what, centre.post("/v1/credit-codes", {"subject": subject})["code"])
    say("SHOW THIS", centre.get(f"/v1/tickets/{shown['key']}/code")["code"])
    return _report(centre, shown["key"], wait_s)


def _report(centre: Centre, key: str, wait_s: float) -> int:
    """Tell how the ticket was used, and what else there was; 1 when it was waited for in vain."""
    end = time.monotonic() + wait_s
    used: list[dict[str, Any]] = []
    while not any(use["outcomes"] for use in used) and time.monotonic() < end:
        time.sleep(0.2)
        used = centre.get(f"/v1/admissions?key={key}")["admissions"]
    for use in used:
        ended = " ".join(use["outcomes"]) or "under way"
        say("admitted", f"{use['box_id']}/{use['lane_id']} {use['reason']} {ended} ({use['staff_en']})")
    for refusal in centre.get("/v1/refusals?limit=5")["refusals"]:
        say(
            "refused", f"{refusal['box_id']}/{refusal['lane_id']} {refusal['reason']} ({refusal['staff_en']})"
        )
    for conflict in centre.get("/v1/conflicts?limit=5")["conflicts"]:
        say("conflict", f"{conflict['kind']} {conflict['key']} {conflict['cost_fen']} fen")
    return 0 if used or not wait_s else 1


if __name__ == "__main__":
    sys.exit(main())
