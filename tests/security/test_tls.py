"""Sockets that connect and say nothing: before a TLS handshake, and after."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

PROGRAM = (
    "import resource, sys\n"
    "limit = int(sys.argv.pop(1))\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))\n"
    "from modelpad.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture(autouse=True)
def enough_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("limit", [256, 1024])
@pytest.mark.parametrize("secure", [True, False])
def test_silent_sockets_stop_no_one_else(
    serve: Callable[..., Any],
    certificate: tuple[Path, Path],
    tmp_path: Path,
    limit: int,
    secure: bool,
) -> None:
    """2,100 of them against a server that may open 256 or 1,024 files."""
    options = ["--tls-cert", str(certificate[0]), "--tls-key", str(certificate[1])]
    server = serve(
        "digits",
        "--workers",
        "1",
        *(options if secure else []),
        store=tmp_path,
        program=("-c", PROGRAM, str(limit)),
    )
    host, _, port = server.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with ExitStack() as stack:
        for number in range(2100):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            if number % 150 == 149:
                with httpx.Client(verify=context, timeout=10) as good:
                    assert good.get(f"{server.url}/healthz").status_code == 200
        assert server.process.poll() is None


def test_a_handshake_that_does_not_come_is_cut_off() -> None:
    import asyncio

    from modelpad.server.http.messages import Request, Response, ServerLimits
    from modelpad.server.http.server import HttpServer
    from tests.server.http.running import wait_until

    async def answer(request: Request) -> Response:
        return Response(b"hello", "text/plain")

    async def live() -> None:
        server = HttpServer(answer, ServerLimits(header_s=0.5))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listener = socket.create_server(("127.0.0.1", 0))
        await server.listen(listener, context)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        await wait_until(lambda: len(server.connections) == 1)  # before its handshake is done
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert not server.connections
        writer.close()
        await server.stop(1)

    asyncio.run(live())


def test_a_body_in_a_tls_record_of_its_own_arrives(certificate: tuple[Path, Path]) -> None:
    import asyncio

    from modelpad.server.http.messages import Request, Response
    from modelpad.server.http.server import HttpServer

    async def echo(request: Request) -> Response:
        return Response(await request.body(), "text/plain")

    async def live() -> None:
        server = HttpServer(echo)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        listener = socket.create_server(("127.0.0.1", 0))
        await server.listen(listener, context)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            listener.getsockname()[1],
            ssl=ssl.create_default_context(cafile=str(certificate[0])),
        )
        writer.write(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n")
        writer.write(b"hello")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        writer.close()
        await server.stop(1)

    asyncio.run(live())


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    program = (
        "import resource\n"
        "from modelpad.server.http.sockets import raise_descriptor_limit, count_free_descriptors\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "few = count_free_descriptors()\n"
        "raise_descriptor_limit()\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, 300)\n"
        "assert count_free_descriptors() == few + 200\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
