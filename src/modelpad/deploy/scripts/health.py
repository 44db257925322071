"""The image's health check: exits with 0 if the server is ready. Standard library only."""

import os
import socket
import ssl
import sys

PORTS = ("MODELPAD_PORT", "AIP_HTTP_PORT", "PORT")
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_S = 3


def main() -> int:
    """0 if `/readyz` of the server in this container answers 200, else 1."""
    port = next((os.environ[name] for name in PORTS if os.environ.get(name)), "8080")
    try:
        connection = socket.create_connection(("127.0.0.1", int(port)), TIMEOUT_S)
        if os.environ.get("MODELPAD_TLS_CERT"):
            context = ssl.create_default_context()
            context.check_hostname = False  # the certificate is for another name
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection)
        with connection:
            connection.sendall(REQUEST)
            return 0 if b" 200 " in connection.recv(64) else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
