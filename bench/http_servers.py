"""modelpad's app on its own wire, and as the ASGI app that it is on other HTTP servers.

Needs: pip install uvicorn granian hypercorn. One process each, logs off, a PNG a request.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import serving

APP = "asgi_app:app --port {port}"
QUIET = "--ws none --no-access-log --log-level error"
SERVERS = {
    "modelpad": "modelpad serve digits --no-open --poll 0 --port {port}",
    "uvicorn, httptools": f"uvicorn {APP} --http httptools --loop asyncio {QUIET}",
    "uvicorn, h11": f"uvicorn {APP} --http h11 --loop asyncio {QUIET}",
    "granian": f"granian --interface asgi --no-ws --no-log {APP}",
    "hypercorn": "hypercorn asgi_app:app --bind 127.0.0.1:{port}",
}


def main() -> None:
    serving.FOLDER = Path(__file__).parent
    bodies = serving.make_bodies()
    serving.make_bodies = lambda: {"PNG": bodies["PNG"]}
    rows: dict[str, Any] = {}
    for name, words in SERVERS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows[name] = serving.measure(name, words, Path(sys.executable), 3.0, own=True)
    print(json.dumps(rows))
    print(serving.write_table(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
