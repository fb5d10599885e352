"""How large a code's modules must be in the camera's picture: the table of docs/CODES.md.

`python -m bench.module_size` holds codes of every size that is issued still in ordinary light, slightly turned and
blurred, at module sizes from one to four camera pixels, and counts what is read.
"""

from __future__ import annotations

import json

import cv2
import numpy as np

from central.images import ticket_symbol
from scanner.decoder import decode_exhaustive, decode_frame
from simulator.difficult import still

STILLS = 25
MODULE_PX = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
RAW_BYTES = (60, 90, 120, 230)
"""What a signed code holds before base45: the shortest that are issued, and the most a kind of code may hold."""
_BASE45 = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", np.uint8)


def main() -> None:
    """Measures and prints one JSON object."""
    cv2.setNumThreads(1)
    rows = []
    for raw_bytes in RAW_BYTES:
        rng = np.random.default_rng(raw_bytes)
        text = "SG1:" + rng.choice(_BASE45, raw_bytes * 3 // 2).tobytes().decode()
        for module_px in MODULE_PX:
            frames = [still(text.encode(), module_px, seed) for seed in range(STILLS)]
            rows.append(
                {
                    "raw_bytes": raw_bytes,
                    "symbol": ticket_symbol(text).designator,
                    "module_px": module_px,
                    "every_frame": sum(text in decode_frame(frame) for frame in frames) / STILLS,
                    "all_looks": sum(text in decode_exhaustive(frame) for frame in frames) / STILLS,
                }
            )
    print(json.dumps({"stills": STILLS, "rows": rows}))


if __name__ == "__main__":
    main()
