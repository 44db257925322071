"""Trains on a Ray cluster, and shows the training's log here.

Not as a job of Ray's dashboard, which listens on its head alone, stops jobs without letting them
save, and returns no files. The address is the one that `serve --on` uses.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from modelpad.cluster.connection import connect
from modelpad.cluster.keeper import Keeper, Progress
from modelpad.cluster.order import Finished, Order, Resources
from modelpad.errors import TrainingFailed, UsageError, first_line

NAMESPACE = "modelpad"
PAUSE_S = 0.5  # between two looks at the log
THREADS = 4  # of a keeper: the training's reports, who follows it, and Ctrl-C
MAX_INTERRUPTS = 2  # a training takes no more; the next one ends this command
GONE_S = 10.0  # for a keeper to end
PATIENCE_S = 5.0  # before it is said what a training waits for


@contextmanager
def train_on_cluster(
    order: Order, resources: Resources, address: str, out: TextIO
) -> Iterator[Finished]:
    """Trains, or follows the same training if it is there already, until it has ended.

    Ctrl-C is passed on: the training keeps its best epoch, as it would here. The cluster keeps the
    result until the block has ended without an error.

    Raises:
        UsageError: there is no cluster, it cannot train, or it trains another model of that name.
        TrainingFailed: the connection, or the machine of the training, was lost.
        MissingExtra: Ray is not installed.
    """
    with connect(address) as ray, explain_loss(ray, address):
        training = find_training(ray, order, out) or start_training(ray, order, resources)
        training.follow(resources, out)
        yield training.ask("collect")
        ray.kill(training.keeper)


class RemoteTraining:
    """A training on a cluster, which its keeper tells about."""

    def __init__(self, ray: Any, keeper: Any) -> None:
        self._ray, self.keeper = ray, keeper

    def ask(self, method: str, *given: object) -> Any:
        """What a method of the keeper returns."""
        return self._ray.get(getattr(self.keeper, method).remote(*given))

    def follow(self, resources: Resources, out: TextIO) -> None:
        """Writes the log until the training has ended."""
        end, passed, is_told, begun = 0, 0, False, time.monotonic()
        with count_interrupts() as interrupts:
            while True:
                news: Progress = self.ask("read", end)
                end = news.end
                out.write(news.text.decode("utf-8", "replace"))
                is_waiting = not (news.has_begun or news.has_ended or is_told)
                if is_waiting and time.monotonic() - begun > PATIENCE_S:
                    out.write(f"Waiting for {resources} on the cluster.\n")
                    is_told = True
                out.flush()
                if news.has_ended:
                    return
                if len(interrupts) > passed:
                    passed += 1
                    self.ask("interrupt")
                time.sleep(PAUSE_S)

    def discard(self, name: str) -> None:
        """Ends the keeper, and waits until its name is free."""
        self._ray.kill(self.keeper)
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline:
            try:
                self._ray.get_actor(name, namespace=NAMESPACE)
            except ValueError:
                return
            time.sleep(PAUSE_S)


def name_keeper(order: Order) -> str:
    """The name that a training has on a cluster."""
    return f"train-{order.name}"


def find_training(ray: Any, order: Order, out: TextIO) -> RemoteTraining | None:
    """The same training, if it runs or is done; one that failed is forgotten.

    Raises `UsageError` if the cluster has another training of that name.
    """
    try:
        found = RemoteTraining(ray, ray.get_actor(name_keeper(order), namespace=NAMESPACE))
    except ValueError:
        return None
    digest, code = found.ask("describe")
    if code:
        found.discard(name_keeper(order))
        return None
    if digest != order.digest:
        what = "is training" if code is None else "still has"
        raise UsageError(
            f"The cluster {what} {order.name} with other options or data.",
            hint="Fetch that with its own command, or train under another name: --name NAME",
        )
    out.write(f"Following the training of {order.name} that was started before.\n")
    return found


def start_training(ray: Any, order: Order, resources: Resources) -> RemoteTraining:
    """A training that begins as soon as it can. Raises `UsageError` if it cannot be started."""
    check_room(ray.nodes(), resources)
    settings = {"num_cpus": 0, "max_concurrency": THREADS, "lifetime": "detached"}
    keeper = ray.remote(Keeper).options(name=name_keeper(order), namespace=NAMESPACE, **settings)
    try:
        training = RemoteTraining(ray, keeper.remote(order.digest))
        training.ask("start", order, resources)
    except (ray.exceptions.RayError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"The training could not be started: {first_line(error, 300)}",
            hint="Every machine of the cluster needs the same Python and modelpad as this one.",
        ) from error
    return training


def check_room(nodes: Sequence[Mapping[str, Any]], resources: Resources) -> None:
    """Raises `UsageError` for more workers than the machines of a cluster can ever have at once.

    One worker may wait for a machine that is still to come; several have to start together.
    """
    wanted = {name: each for name, each in resources.shares.items() if each}
    machines = [each["Resources"] for each in nodes if each["Alive"]]
    room = sum(
        min((int(machine.get(name, 0) // each) for name, each in wanted.items()), default=1)
        for machine in machines
    )
    if resources.workers > max(1, room):
        raise UsageError(
            f"The cluster has room for {room} worker{'s' * (room != 1)} with"
            f" {resources.name_share()} each, not for {resources.workers}.",
            hint="Give fewer --train-workers or --train-cpus, or add machines to the cluster.",
        )


@contextmanager
def count_interrupts() -> Iterator[list[int]]:
    """Collects Ctrl-C instead of raising `KeyboardInterrupt`, as long as a training takes them."""
    seen: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if len(seen) >= MAX_INTERRUPTS:
            raise KeyboardInterrupt
        seen.append(number)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def explain_loss(ray: Any, address: str) -> Iterator[None]:
    """Says what became of a training that cannot be followed any more."""
    try:
        yield
    except ConnectionError as error:
        raise TrainingFailed(
            f"The connection to {address} was lost. The training goes on there.",
            hint="Follow it again with the same command.",
        ) from error
    except ray.exceptions.RayTaskError as error:
        raise TrainingFailed(
            f"The training could not run on the cluster: {first_line(error.cause or error, 300)}",
            hint="Check the machines' free space, and that they have the same modelpad.",
        ) from error
    except ray.exceptions.RayError as error:
        raise TrainingFailed(
            f"The cluster lost the training: {first_line(error, 300)}",
            hint="Start it again with the same command.",
        ) from error
