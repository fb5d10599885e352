"""A camera on the network: a real HTTP server of MJPEG that can be switched off, on, and struck dumb."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FRAME_S = 0.04


class MjpegCamera:
    """Serves one JPEG at 25 frames per second on a port of its own, between `switch_on` and `switch_off`."""

    def __init__(self, picture: bytes) -> None:
        self.picture = picture
        self.port = 0
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.switch_on()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.switch_off()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    def switch_on(self) -> None:
        """Listens, on the same port as before if it was on before."""
        self._server = _Server(self.port, self)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def switch_off(self) -> None:
        """Ends every stream and stops listening."""
        if self._server is not None:
            self._server.off.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, camera: MjpegCamera) -> None:
        self.off = threading.Event()
        self.camera = camera
        super().__init__(("127.0.0.1", port), _Stream)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that leaves is no error."""


class _Stream(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        while not self.server.off.wait(FRAME_S):
            picture = self.server.camera.picture
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Says nothing."""


class SilentCamera:
    """Accepts connections and never says a word; `after` is sent first."""

    def __init__(self, after: bytes = b"") -> None:
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._callers: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for caller in self._callers:
            caller.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/stream"

    @property
    def callers(self) -> int:
        return len(self._callers)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            caller.sendall(self._after)
            self._callers.append(caller)
