"""An RTSP camera: GStreamer's server plays one PNG as H.264 at 25 frames a second until it is killed.

`/usr/bin/python3 -I rtsp_server.py PORT PNG`: run with the system's Python, which has the bindings. Port 0 takes a
free one; the port is printed once it listens.
"""

from __future__ import annotations

import sys

import gi  # type: ignore[import-not-found]  # Debian's, for the system's Python

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

PIPELINE = (
    "( multifilesrc location={png} caps=image/png,framerate=25/1 loop=true ! pngdec ! videoconvert "
    "! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 "
    "! rtph264pay name=pay0 )"
)


def main(port: str, png: str) -> None:
    """Serves until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(PIPELINE.format(png=png))
    server.get_mount_points().add_factory("/stream", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)  # noqa: T201
    GLib.MainLoop().run()


main(*sys.argv[1:])
