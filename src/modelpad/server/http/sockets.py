"""Addresses, certificates, and sockets bound to addresses."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import ModelpadError, PortInUse, UsageError

if TYPE_CHECKING:
    import ssl


class Address(msgspec.Struct, frozen=True):
    """Where to listen; port 0 means any free port."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls: bool = False

    @property
    def url(self) -> str:
        """The URL to open in a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        scheme = "https" if self.tls else "http"
        return (
            f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        )


class Certificate(msgspec.Struct, frozen=True):
    """The PEM files for HTTPS, and for gRPC over TLS."""

    certificate: Path
    key: Path

    def open(self) -> ssl.SSLContext:
        """Makes a TLS context. Raises `UsageError` if the files cannot be read or do not match."""
        import ssl

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for file in (self.certificate, self.key):
            if not file.is_file():
                raise UsageError(f"File not found: {file}.", hint="Check the path.")
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"The certificate cannot be used: {error}.",
                hint="Use a PEM certificate and its private key.",
            ) from error
        return context


# Descriptors kept for files, models and the supervisor.
SPARE_DESCRIPTORS = 48


def raise_descriptor_limit() -> None:
    """Raises the limit of open files to the most that the system allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS reports "infinity" but accepts less; then the limit stays.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def count_descriptors() -> int:
    """The number of files and sockets that this process may have open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def count_free_descriptors() -> int:
    """The number of sockets that this process may still open, at least 1; some are kept back."""
    folder = Path("/dev/fd")
    used = len(list(folder.iterdir())) if folder.is_dir() else SPARE_DESCRIPTORS
    return max(1, count_descriptors() - used - SPARE_DESCRIPTORS)


def shrink_tls_buffers(size: int) -> None:
    """Makes asyncio use TLS buffers of `size` bytes instead of 256 KB per connection.

    There is no public setting, and a thousand silent connections would need 250 MB.
    """
    from asyncio import sslproto

    if hasattr(sslproto.SSLProtocol, "max_size"):
        sslproto.SSLProtocol.max_size = size


def open_socket(address: Address, option: str = "--port") -> socket.socket:
    """Binds a socket to `address`, to detect a port in use before models are opened.

    `option` is the command-line option that sets the port.

    Raises:
        PortInUse: another program listens on the port.
        ModelpadError: the address is not one of this machine's, or is not permitted.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except (OSError, OverflowError) as error:
        listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            free = ", or --port 0 for any free one" if option == "--port" else ""
            raise PortInUse(
                f"Port {address.port} on {address.host} is in use.",
                hint=f"Choose another: {option} {address.port + 1}{free}.",
                port=address.port,
            ) from None
        raise ModelpadError(
            f"Cannot listen on {address.host}:{address.port}:"
            f" {getattr(error, 'strerror', None) or error}.",
            hint=f"Check --host and {option}.",
        ) from error
    return listener
