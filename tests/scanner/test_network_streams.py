"""Cameras as the network brings them: an RTSP server of GStreamer, and MPEG-TS by UDP; killed, hung and back."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from scanner.camera import Camera, CameraState
from scanner.decoder import ZxingDecoder
from scanner.settings import CameraSettings
from scanner.trouble import Trouble
from tests.scanner.pictures import coloured, eventually, showing

SERVER = Path(__file__).with_name("rtsp_server.py")


@pytest.fixture
def png(tmp_path: Path) -> Path:
    """The picture of a code."""
    path = tmp_path / "code.png"
    cv2.imwrite(str(path), coloured(showing(b"SG1:NETWORK")))
    return path


@contextmanager
def rtsp_server(png: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running server and the port it listens on."""
    command = ["/usr/bin/python3", "-I", str(SERVER), str(port), str(png)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            yield server, int(server.stdout.readline())
        finally:
            server.kill()


@contextmanager
def watching(address: str) -> Iterator[Camera]:
    """A started camera on an address."""
    camera = Camera(CameraSettings(address, open_timeout_ms=5000, read_timeout_ms=800), draw=lambda: 0.0)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop()


def reads(camera: Camera) -> bool:
    """Whether the camera's next frame shows the code."""
    frame = camera.wait_newer(camera.health().frames, timeout_s=1)
    if frame is None:
        return False
    gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.uint8)
    return b"SG1:NETWORK" in {seen.payload for seen in ZxingDecoder().decode(gray)}


def test_rtsp_camera_is_read_and_comes_back_after_it_was_killed(png: Path) -> None:
    """H.264 by RTSP shows the code; a server that dies is a lost camera, and its successor is found by itself."""
    with rtsp_server(png) as (server, port), watching(f"rtsp://127.0.0.1:{port}/stream") as camera:
        assert eventually(lambda: reads(camera))
        server.kill()
        assert eventually(lambda: camera.health().state is CameraState.LOST)
        with rtsp_server(png, port):
            assert eventually(lambda: camera.health().reopened == 1)
            assert eventually(lambda: reads(camera))


def test_rtsp_camera_that_hangs_is_lost_and_comes_back(png: Path) -> None:
    """A server that stands still with open connections is noticed by the read timeout, and found again."""
    with rtsp_server(png) as (server, port), watching(f"rtsp://127.0.0.1:{port}/stream") as camera:
        assert eventually(lambda: reads(camera))
        server.send_signal(signal.SIGSTOP)
        assert eventually(lambda: camera.health().trouble in {Trouble.NO_FRAMES, Trouble.CANNOT_OPEN})
        server.send_signal(signal.SIGCONT)
        assert eventually(lambda: reads(camera), within_s=20)


@contextmanager
def udp_stream(png: Path) -> Iterator[str]:
    """The address of MPEG-TS that is sent again and again at 25 frames a second to a free port."""
    film = png.with_name("film.ts")
    writer = cv2.VideoWriter(str(film), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (1280, 720))
    picture = np.asarray(cv2.imread(str(png)), np.uint8)
    for _ in range(50):
        writer.write(picture)
    writer.release()
    data, stopping = film.read_bytes(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
    packets = [
        data[at : at + 1316] for at in range(0, len(data), 1316)
    ]  # seven of 188 bytes, as cameras send them

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            number = 0
            while not stopping.wait(2.0 / len(packets)):
                sender.sendto(packets[number % len(packets)], ("127.0.0.1", port))
                number += 1

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield f"udp://127.0.0.1:{port}"
    finally:
        stopping.set()
        sending.join()


def test_udp_stream_is_read_and_its_end_is_noticed(png: Path) -> None:
    """MPEG-TS by UDP shows the code; nobody hangs up on UDP, so silence is what says that it is gone."""
    with ExitStack() as sending, watching(sending.enter_context(udp_stream(png))) as camera:
        assert eventually(lambda: reads(camera), within_s=20)
        sending.close()
        assert eventually(lambda: camera.health().state is CameraState.LOST)
