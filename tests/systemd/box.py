"""The settings of a box that runs by itself: no broker, no turnstile, and a camera that plays a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from admission.keys import public_key_text
from tests.admission.makers import HASH_KEY, signing_key

ROOT = Path(__file__).parents[2]


def write_settings(folder: Path) -> Path:
    """The settings of a box with one lane, whose camera is a folder with one dark picture."""
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "0.png"), np.zeros((240, 320), np.uint8))
    (folder / "hash.key").write_text(HASH_KEY.hex(), "ascii")
    path = folder / "box.toml"
    path.write_text(
        f"""
profile = "demo"
box_id = "B1"
site_id = "fairy"
state_dir = "state"
policy_file = "{ROOT / "config" / "policies" / "default.toml"}"
hash_key_file = "hash.key"
list_keys = ["{public_key_text(signing_key(1).public)}"]
[centre]
url = "http://127.0.0.1:1"
broker_host = "127.0.0.1"
broker_port = 1
[[issuer_keys]]
key = "{public_key_text(signing_key(2).public)}"
uses = ["ticket"]
[[lanes]]
id = "1"
[lanes.camera]
address = "{folder / "pictures"}"
[lanes.turnstile]
driver = "simulated"
[web]
port = 0
""",
        "utf-8",
    )
    return path
