"""The servers to compare: packages, start command, endpoints and tuning of each.

The apps are in `peers/`; `serving.py` measures them. Where a server supports batching or several
workers, both settings were tried on two cores and the faster one at 64 connections was kept.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

APPS = Path(__file__).parent / "peers"
COMMON = ("onnxruntime", "numpy", "pillow", "orjson")
V2 = "/v2/models/digits/infer"
OWN_PATHS = {
    "raw float32": V2,
    "TensorFlow rows": "/v1/models/digits:predict",
    "nested JSON": "/predict/digits",
    "flat v2 JSON": V2,
    "PNG": "/predict/digits",
}


def single_path(path: str) -> dict[str, str]:
    """The endpoints of an app in `peers/`: every body, all on one path."""
    return dict.fromkeys(OWN_PATHS, path)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is tuned, for the table; all use one ONNX Runtime thread per session."""

    workers: str
    batch: str
    loop: str
    json: str
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare; `packages` lists its own first, or is empty to use this Python."""

    command: str
    paths: dict[str, str]
    settings: Settings
    packages: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    patience_s: float = 60.0
    folder: Path = APPS

    @property
    def distribution(self) -> str:
        """The package whose version is reported."""
        return self.packages[0].split("[")[0] if self.packages else "modelpad"


PEERS = {
    "modelpad": Peer(
        "modelpad serve {model} --no-open --poll-interval 0 --port {port}",
        OWN_PATHS,
        Settings("1 process per CPU", "measured", "asyncio", "msgspec"),
    ),
    "granian": Peer(
        "granian --interface rsgi --workers 2 --loop uvloop --no-ws --no-log --port {port}"
        " granian_app:app",
        single_path("/predict"),
        Settings("2 processes", "none", "uvloop", "orjson", "hand-written, on RSGI"),
        ("granian", "uvloop"),
    ),
    "FastAPI": Peer(
        "uvicorn fastapi_app:app --workers 2 --port {port} --loop uvloop --http httptools"
        " --no-access-log --log-level error",
        single_path("/predict"),
        Settings("2 processes", "none", "uvloop", "orjson", "uvicorn, httptools"),
        ("fastapi", "uvicorn", "httptools", "uvloop"),
    ),
    "Flask": Peer(
        "gunicorn -w 2 --threads 2 -b 127.0.0.1:{port} flask_app:app",
        single_path("/predict"),
        Settings("2 processes of 2 threads", "none", "threads", "orjson", "gunicorn"),
        ("flask", "gunicorn"),
    ),
    "mosec": Peer(
        "python mosec_app.py --port {port} --log-level error",
        single_path("/inference"),
        Settings(
            "2 processes",
            "16, 1 ms",
            "tokio",
            "orjson",
            "single requests are faster without batches",
        ),
        ("mosec",),
    ),
    "LitServe": Peer(
        "python litserve_app.py {port} 2 2 16",
        single_path("/predict"),
        Settings(
            "2 front ends, 2 workers", "16, 1 ms", "uvloop", "orjson", "its ZeroMQ queue is off"
        ),
        ("litserve", "uvloop", "httptools"),
    ),
    "BentoML": Peer(
        "bentoml serve bentoml_app:Digits --port {port} --quiet",
        single_path("/digits/predict"),
        Settings(
            "2 processes",
            "none",
            "uvloop",
            "orjson",
            "a mounted app; the typed API took 1.6 times the CPU",
        ),
        ("bentoml", "uvloop", "httptools"),
        {"BENTOML_DO_NOT_TRACK": "True"},
        patience_s=120,
    ),
    "Ray Serve": Peer(
        "python ray_app.py {port} 2 16",
        single_path("/predict"),
        Settings("2 replicas", "16, no wait", "uvloop", "orjson", "HAProxy, throughput-optimized"),
        ("ray[serve]",),
        {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        },
        patience_s=180,
    ),
    "MLServer": Peer(
        "python mlserver_app.py {port} 0 0",
        {"flat v2 JSON": V2},
        Settings("1 process", "none", "uvloop", "orjson", "its parallel workers were slower"),
        ("mlserver", "uvloop<0.22"),  # newer versions break its workers
    ),
    "Triton": Peer(
        "python triton_app.py {port} 1 16",
        {"raw float32": V2, "flat v2 JSON": V2},
        Settings(
            "C++ front end, 1 worker", "16, no wait", "its own", "its own", "PyTriton; sockets"
        ),
        ("nvidia-pytriton",),
        # With its shared-memory store, 3 kB images took 1.6 times the CPU time. The store also
        # fails if the system's libpython is not the environment's.
        {"PYTRITON_NO_TENSORSTORE": "1"},
        patience_s=120,
    ),
}


def environment_of(name: str, peer: Peer, environments: Path) -> Path:
    """The `bin` folder of the peer's environment."""
    if not peer.packages:
        return Path(sys.executable).parent
    return (environments / name.lower().replace(" ", "-") / "bin").absolute()


def write_setup(environments: Path) -> str:
    """Shell commands that create an environment for each peer."""
    lines = ["set -e"]
    for name, peer in PEERS.items():
        if peer.packages:
            programs = environment_of(name, peer, environments)
            lines.append(f"{quote(sys.executable)} -m venv {quote(str(programs.parent))}")
            packages = " ".join(quote(each) for each in (*peer.packages, *COMMON))
            lines.append(f"{quote(str(programs / 'python'))} -m pip install --quiet {packages}")
    return "\n".join(lines)


def read_version(programs: Path, distribution: str) -> str:
    """The version of a distribution that is installed in an environment."""
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    done = subprocess.run(
        [programs / "python", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
