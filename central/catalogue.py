"""What the policy document itself brings to the store: products to sell, and whether clearances may be kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from sqlalchemy import Connection, delete

from admission.policy import Policy
from admission.terms import check_terms
from admission.tickets import Product
from central.rights import known_rows, merge
from central.schema import clearances, products


def put_in(connection: Connection, policy: Policy) -> int:
    """Make the store's products say what the policy says of them; return how many that changed.

    Products that the policy does not name stay as they are: tickets of them may still be about. Clearances are
    forgotten when the policy asks for none.
    """
    if not policy.clearances:
        connection.execute(delete(clearances))  # off: nothing that was found about anybody is kept
    rows = [_row(product) for product in policy.products]
    merged = merge(connection, products, rows, known_rows(connection, products, rows))
    return len(merged.created) + len(merged.updated)


def _row(product: Product) -> dict[str, Any]:
    return {
        "code": product.code,
        "name_zh": product.name_zh,
        "name_en": product.name_en,
        "site_ids": json.dumps(sorted(product.site_ids)),
        "terms": check_terms(msgspec.json.encode(product.terms)),
    }
