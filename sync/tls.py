"""How the box trusts whom it speaks to: the site's own authority, whatever the time is.

The times on the other side's certificate are not looked at. A box that wakes with a clock from years ago learns the
time from the centre through these very connections, and what it fetches through them is signed by itself. A lost key is
answered with a new authority, not with waiting for a date.
"""

from __future__ import annotations

import ssl

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


HANDSHAKE_TIMEOUT_S = 5.0


class _BoundedSocket(ssl.SSLSocket):
    """Gives up on a listener that says nothing, and leaves no open socket behind when it does."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(HANDSHAKE_TIMEOUT_S)
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def broker_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """Return what secures a connection to a broker that `ca_file` vouches for; OSError when a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _BoundedSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return _timeless(context)


def web_context(ca_text: str) -> ssl.SSLContext:
    """Return what secures a connection to the centre's web service: its certificate is of `ca_text`, or public."""
    context = ssl.create_default_context()
    if ca_text:
        context.load_verify_locations(cadata=ca_text)
    return _timeless(context)


def _timeless(context: ssl.SSLContext) -> ssl.SSLContext:
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context
