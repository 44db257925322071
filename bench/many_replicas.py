"""Simulates replicas that follow one store in a bucket: what the store has to answer.

No request is sent. The product's own `RemoteStore`, `Catalogue` and routing decide what is read and
how often, on objects in memory that count requests; the time is simulated. All replicas start at
once, the worst case. After `PUSH_S` a new version is pushed, after `SPLIT_S` it gets a tenth of the
requests, after `PROMOTE_S` all. From `AWAY_S` on the bucket is away for a minute, and after
`BROKEN_S` a version is promoted that no replica can load.

    python bench/many_replicas.py --replicas 10 100 1000
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from modelpad.bundle import open_bundle
from modelpad.errors import StoreError
from modelpad.locations import RemoteLocation
from modelpad.server.lifecycle.catalogue import Catalogue
from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.lifecycle.reconciler import JITTER, RETRY_S
from modelpad.server.model_table import ServedVersions
from modelpad.server.models import LoadOptions, ServedModel
from modelpad.server.options import POLL_BUCKET_S
from modelpad.store import ResolvedBundle
from modelpad.store.objects import LIST_CHUNK, Found, Objects, Tag
from modelpad.store.remote import RemoteStore
from modelpad.zoo import zoo_bundles

MODELS, VERSIONS = 5, 4  # in the store from the start
BOOT_S = (10.0, 20.0)  # a replica of Ray on an idle machine, until it reads the store
LOAD_S = 0.5  # to download and check a version of the digits, without its requests' waiting
PUSH_S, SPLIT_S, PROMOTE_S, AWAY_S, BACK_S, BROKEN_S, END_S = 120, 180, 240, 300, 360, 420, 600
ATTEMPTS = 4  # of obstore for one request: `max_retries` is 3
SHARE, REQUESTS = 10, 100_000  # of the split, and predictions among all replicas
NEW, BROKEN = VERSIONS + 1, VERSIONS + 2
MODEL = "model-0"


class Bucket:
    """Objects in memory, as `Objects`; counts what a service would be asked, by second."""

    url = "s3://simulated"

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.tags: dict[str, Tag] = {}
        self.now, self.is_away = 0.0, False
        self.counts: Counter[int] = Counter()
        self.kinds: Counter[str] = Counter()

    def count(self, kind: str, number: int = 1) -> None:
        """Counts requests of a kind; those to a bucket that is away are tried again."""
        number *= ATTEMPTS if self.is_away else 1
        self.counts[int(self.now)] += number
        self.kinds[kind] += number
        if self.is_away:
            raise StoreError("The bucket is away.", away=True)

    def list(self, folder: str) -> dict[str, Tag]:
        """One request for each thousand objects."""
        found = {path: tag for path, tag in self.tags.items() if path.startswith(f"{folder}/")}
        self.count("LIST", max(1, ceil(len(found) / LIST_CHUNK)))
        return found

    def read(self, path: str) -> Found | None:
        self.count("GET")
        body = self.bodies.get(path)
        return None if body is None else Found(body, self.tags[path], {})

    def create(self, path: str, body: bytes) -> Tag | None:
        self.count("PUT")
        return None if path in self.bodies else self._put(path, body)

    def write(self, path: str, body: bytes) -> None:
        self.count("PUT")
        self._put(path, body)

    def replace(self, path: str, body: bytes, seen: Found | None) -> Tag | None:
        self.count("PUT")
        now = self.tags.get(path)
        return None if now != (seen.tag if seen else None) else self._put(path, body)

    def upload(self, path: str, file: Path) -> None:
        self.count("PUT")
        self._put(path, file.read_bytes())

    def download(self, path: str, file: Path, max_bytes: int) -> None:
        self.count("GET")
        file.write_bytes(self.bodies[path])

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.count("DELETE")
            self.bodies.pop(path, None)
            self.tags.pop(path, None)

    def _put(self, path: str, body: bytes) -> Tag:
        self.bodies[path] = body
        self.tags[path] = f"tag-{len(self.kinds)}-{sum(self.kinds.values())}-{path}"
        return self.tags[path]


@dataclass
class Replica:
    """What one replica has, and when it had it first."""

    catalogue: Catalogue
    loaded: set[int] = field(default_factory=set)
    failed_until: dict[int, float] = field(default_factory=dict)
    served_at: dict[int, float] = field(default_factory=dict)  # default version, by time
    split_at: float | None = None


class Simulation:
    """`count` replicas on one bucket, for ten minutes."""

    def __init__(self, count: int, folder: Path) -> None:
        self.bucket, self.count = Bucket(), count
        self.store = self.open(folder / "operator")
        self.digits = open_bundle(zoo_bundles()["digits"])
        for number in range(MODELS):
            for _ in range(VERSIONS):
                self.store.push(self.digits, f"model-{number}")
        self.store.promote(MODEL, VERSIONS)
        self.load_costs = self.measure_load(folder / "first")
        self.retry_costs = self.measure_load(folder / "first")  # its files are in the cache
        self.replicas = [self.start(folder / str(number)) for number in range(count)]

    def open(self, cache: Path) -> RemoteStore:
        objects = cast(Objects, self.bucket)
        return RemoteStore(objects, RemoteLocation(self.bucket.url, cache))

    def start(self, cache: Path) -> Replica:
        """A replica with its own memory and cache."""
        given = [ResolvedBundle(MODEL, VERSIONS, self.digits)]
        catalogue = Catalogue(cache, [MODEL], given, Overrides(), LoadOptions())
        catalogue._store = self.open(cache)
        return Replica(catalogue)

    def measure_load(self, cache: Path) -> Counter[str]:
        """The requests by which a replica with that cache opens a version."""
        before = self.bucket.kinds.copy()
        self.open(cache).open(f"{MODEL}@1")
        return self.bucket.kinds - before

    def run(self) -> None:
        """All events in the order of their times."""
        self.bucket.counts.clear()
        self.bucket.kinds.clear()
        events: list[tuple[float, int, str]] = [
            *((random.uniform(*BOOT_S), number, "poll") for number in range(self.count)),
            *((PUSH_S, -1, "push"), (SPLIT_S, -1, "split"), (PROMOTE_S, -1, "promote")),
            *((AWAY_S, -1, "away"), (BACK_S, -1, "back"), (BROKEN_S, -1, "break")),
        ]
        heapq.heapify(events)
        while events and events[0][0] < END_S:
            now, number, what = heapq.heappop(events)
            self.bucket.now = now
            if number < 0:
                self.operate(what)
                continue
            busy_s = self.poll(self.replicas[number], now)
            again = now + busy_s + POLL_BUCKET_S * random.uniform(*JITTER)
            heapq.heappush(events, (again, number, "poll"))

    def operate(self, what: str) -> None:
        """What a person does to the store; it costs requests, too."""
        if what == "push":
            self.store.push(self.digits, MODEL)
        elif what == "split":
            self.store.set_traffic(MODEL, {VERSIONS: 100 - SHARE, NEW: SHARE})
        elif what == "promote":
            self.store.promote(MODEL, NEW)
        elif what == "break":
            self.store.push(self.digits, MODEL)
            self.store.promote(MODEL, BROKEN)
        self.bucket.is_away = what == "away"

    def poll(self, replica: Replica, now: float) -> float:
        """As `Reconciler.reconcile`; returns how long loading took."""
        try:
            plan = replica.catalogue.read_plans()[MODEL]
            busy_s = 0.0
            for version in sorted(plan.versions - replica.loaded, reverse=True):
                if replica.failed_until.get(version, 0.0) > now:
                    continue
                is_cached = version in replica.failed_until
                costs = self.retry_costs if is_cached else self.load_costs
                for kind, number in costs.items():
                    self.bucket.count(kind, number)
                busy_s += LOAD_S
                if version == BROKEN:
                    replica.failed_until[version] = now + RETRY_S
                else:
                    replica.loaded.add(version)
        except StoreError:
            return 0.0
        replica.loaded &= plan.versions | {BROKEN}
        if plan.default_version in replica.loaded:
            replica.served_at.setdefault(plan.default_version, now + busy_s)
        if plan.traffic and replica.split_at is None:
            replica.split_at = now + busy_s
        return busy_s

    def rate(self, start: int, end: int) -> tuple[float, int]:
        """Requests per second between two times: on average, and at most."""
        seconds = [self.bucket.counts[second] for second in range(start, end)]
        return statistics.mean(seconds), max(seconds)


def split_requests(replicas: int) -> tuple[float, bool]:
    """The share of the new version among all predictions, and whether a key decides everywhere.

    Each replica chooses alone, by the product's own routing.
    """
    models = {number: SimpleNamespace(version=number) for number in (VERSIONS, NEW)}
    shares = {VERSIONS: 100 - SHARE, NEW: SHARE}
    versions = cast(dict[int, ServedModel], models)
    tables = [ServedVersions(MODEL, versions, NEW, traffic=shares) for _ in range(replicas)]
    chosen: Counter[Any] = Counter(
        tables[number % replicas].choose().version for number in range(REQUESTS)
    )
    same = all(
        len({table.choose(f"user-{user}").version for table in tables}) == 1 for user in range(20)
    )
    return 100 * chosen[NEW] / REQUESTS, same


def describe(count: int) -> list[str]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(count, Path(folder))
        simulation.run()
    steady, steady_peak = simulation.rate(60, PUSH_S)
    _, start_peak = simulation.rate(0, 60)
    _, split_peak = simulation.rate(SPLIT_S, PROMOTE_S)
    away, _ = simulation.rate(AWAY_S + 20, BACK_S)
    _, back_peak = simulation.rate(BACK_S, BACK_S + 60)
    broken, _ = simulation.rate(BROKEN_S + 60, END_S)
    waits = [replica.served_at[NEW] - PROMOTE_S for replica in simulation.replicas]
    split_s = max((replica.split_at or END_S) - SPLIT_S for replica in simulation.replicas)
    share, same = split_requests(count)
    assert same
    return [
        f"{count:,}",
        f"{steady:.1f} (at most {steady_peak:,})",
        f"{start_peak:,}",
        f"{split_peak:,}",
        f"{away:.1f}, then at most {back_peak:,}",
        f"{broken:.1f}",
        f"{statistics.median(waits):.1f} s, last {max(waits):.1f} s",
        f"{share:.2f} %, last after {split_s:.1f} s",
    ]


def main() -> None:
    """Prints a table, as rows are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[10, 100, 1000])
    counts = parser.parse_args().replicas
    random.seed(1)
    heads = ["replicas", "requests/s", "most in a second: start", "new version", "bucket away"]
    heads += ["broken version", "promote reaches half", f"split of {SHARE} %"]
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for count in counts:
        print("| " + " | ".join(describe(count)) + " |", flush=True)


if __name__ == "__main__":
    main()
