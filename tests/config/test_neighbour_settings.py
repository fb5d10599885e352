"""What the settings say of the site's other boxes, and which mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from admission.keys import public_key_text
from config.loader import SettingsError
from config.settings import load_settings, neighbour_keys
from tests.central.world import signing_key

KEY = public_key_text(signing_key("B2").public)
ALONE = f"""
profile = "lane"
box_id = "B1"
site_id = "fairy"
state_dir = "state"
policy_file = "policy.toml"
hash_key_file = "hash.key"
list_keys = ["{KEY}"]
issuer_keys = []
[centre]
url = "http://centre:8000"
broker_host = "centre"
broker_port = 1883
[[lanes]]
id = "1"
turnstile = {{ driver = "tcp", port = 4000 }}
"""
BROKER = '[site_broker]\nhost = "site"\nport = 1883\n'


def neighbour(box_id: str, key: str = KEY) -> str:
    """A neighbour's table."""
    return f'[[neighbours]]\nbox_id = "{box_id}"\nkey = "{key}"\n'


def test_neighbours_keys_are_read(tmp_path: Path) -> None:
    """Each neighbour is known by its box id and its key."""
    path = tmp_path / "box.toml"
    path.write_text(ALONE + BROKER + neighbour("B2"))
    assert neighbour_keys(load_settings(path)).keys() == {"B2"}


def test_box_may_be_alone(tmp_path: Path) -> None:
    """A site of one box needs no broker of its own."""
    path = tmp_path / "box.toml"
    path.write_text(ALONE)
    assert load_settings(path).site_broker is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (neighbour("B2"), "site_broker: missing"),
        (BROKER + neighbour("B1"), "neighbours: box 'B1' stands there twice or is this box"),
        (BROKER + neighbour("B2") * 2, "neighbours: box 'B2' stands there twice or is this box"),
        (BROKER + neighbour("B2", "nonsense"), "neighbours[0].key: a key is written as ID:KEY"),
        (
            BROKER + neighbour("B2", public_key_text(signing_key("B2", demo=True).public)),
            "neighbours[0].key: a demo key proves nothing",
        ),
    ],
)
def test_mistake_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    """Whatever would leave a neighbour unheard, or believed without proof, is refused."""
    path = tmp_path / "box.toml"
    path.write_text(ALONE + text)
    with pytest.raises(SettingsError, match=problem.replace("[", r"\[")):
        load_settings(path)
