"""Trains one model by several workers at once, each on its part of every batch (Ray Train).

Ray Train starts the workers together, on any machines, and ends all of them if one fails. Each runs
the order as a process of its own, and these processes form the team that trains.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from modelpad.cluster.order import LOST, Finished, Order, Resources
from modelpad.cluster.process import Member, run_order
from modelpad.errors import first_line
from modelpad.training.parallel import Place

TAIL_BYTES = 10_000  # of a follower's log, which is shown only if it fails
LEADER_FIRST_S = 5.0  # what all workers fail of, the leader's log says


class WorkerFailed(Exception):
    """A worker has failed, and said why."""


def run_team(order: Order, resources: Resources, keeper: Any) -> Finished:
    """Trains, and returns what came of it; the `keeper`, an actor of Ray, gets the log."""
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")  # read when it is imported; 2.50 asks for it
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    def work() -> None:
        run_member(order, keeper)

    with tempfile.TemporaryDirectory(prefix="modelpad-train-") as folder:
        trainer = TorchTrainer(
            work,
            torch_config=TorchConfig(backend="gloo"),  # of the workers, which only wait
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus > 0,
                resources_per_worker={name: n for name, n in resources.shares.items() if n},
            ),
            run_config=RunConfig(
                name=order.name,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=0),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            failure = explain_failure(error)
        else:
            failure = "No worker has returned a model."
    outcome: Finished | None = ray.get(keeper.take_outcome.remote())
    if outcome is None:
        ray.get(keeper.report.remote(f"Ray Train failed: {failure}\n".encode()))
    return outcome or Finished(LOST)


def explain_failure(error: Any) -> str:
    """Why Ray Train gave up: what its workers, or its controller, say."""
    failures = getattr(error, "worker_failures", {}).values()
    causes = failures or [getattr(error, "controller_failure", error)]
    return "; ".join(dict.fromkeys(first_line(each, 300) for each in causes))


def run_member(order: Order, keeper: Any) -> None:
    """Trains in one worker. Raises `WorkerFailed` so that Ray Train ends the others."""
    import ray
    import ray.train

    if ray.get(keeper.is_cancelled.remote()):
        return  # Ray Train may start workers of a training whose task was cancelled
    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    # Ray Train's own processes meet in a store there, which those of the team also use.
    place = Place(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), rank, size)
    # It shows each worker the GPUs of all that share its machine.
    devices = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, ray.get_gpu_ids()))}
    member = Member(place, devices if ray.get_gpu_ids() else {})
    tail = b""

    def show(text: bytes) -> int:
        return int(ray.get(keeper.report.remote(text)))

    def keep(text: bytes) -> int:
        nonlocal tail
        tail = (tail + text)[-TAIL_BYTES:]
        return 0

    finished = run_order(order, show if rank == 0 else keep, member)
    if rank == 0 or finished.code:
        if rank:
            time.sleep(LEADER_FIRST_S)
            show(f"Worker {rank + 1} of {size} failed:\n".encode() + tail)
        ray.get(keeper.deliver.remote(finished))
    if finished.code:
        raise WorkerFailed(f"Worker {rank + 1} of {size} ended with code {finished.code}.")
