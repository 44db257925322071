"""modelpad's app on its own HTTP server, and as an ASGI app on others.

One process each, no logs, one PNG per request. Needs: pip install uvicorn granian hypercorn

usage: python bench/http_servers.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import serving
from peer import Peer, Settings

APP = "asgi_app:app --port {port}"
QUIET = "--ws none --no-access-log --log-level error"
SERVERS = {
    "modelpad": "modelpad serve digits --workers 1 --no-open --poll-interval 0 --port {port}",
    "uvicorn, httptools": f"uvicorn {APP} --http httptools --loop asyncio {QUIET}",
    "uvicorn, h11": f"uvicorn {APP} --http h11 --loop asyncio {QUIET}",
    "granian": f"granian --interface asgi --no-ws --no-log {APP}",
    "hypercorn": "hypercorn asgi_app:app --bind 127.0.0.1:{port}",
}


def main() -> None:
    settings = Settings("1 process", "measured", "asyncio", "msgspec")
    rows: dict[str, Any] = {}
    for name, words in SERVERS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        paths = {"PNG": "/predict/digits"}
        peer = Peer(words, paths, settings, folder=Path(__file__).parent)
        rows[name] = serving.measure(name, peer, Path(), 3.0)
    print(json.dumps(rows))
    print(serving.write_table(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
