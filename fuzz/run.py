"""Fuzzes one target: `python -m fuzz.run TARGET [--seconds N] [--seed N]`.

Uses Atheris, which is guided by coverage, if it is installed, otherwise mutations of the corpus.
An input that raises an unexpected error, or takes too long, is saved in the corpus as a regression
test.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import time
import traceback
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from fuzz.mutate import MAX_BYTES, mutate_forever
from fuzz.targets import CORPUS, NAMES, load_target, read_corpus, run_input
from modelpad.errors import ModelpadError

MAX_CPU_S = 2.0
MAX_CRASHES = 20


def keep(name: str, data: bytes) -> Path:
    """Saves an input that failed."""
    path = CORPUS / name / f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def locate(error: BaseException) -> str:
    """Where an error was raised, so that each bug is reported once."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} {frame.filename}:{frame.lineno}"


def run_mutations(name: str, seconds: float, seed: int) -> int:
    """Runs mutated inputs for `seconds`; returns how many bugs they found."""
    fuzz = load_target(name).fuzz
    corpus = list(read_corpus(name).values())
    end, count, found = time.monotonic() + seconds, 0, set()
    for data in mutate_forever(corpus, seed):
        if time.monotonic() > end or len(found) >= MAX_CRASHES:
            break
        start = time.thread_time()
        error = run_input(fuzz, data)
        count += 1
        if error is None and time.thread_time() - start > MAX_CPU_S:
            error = TimeoutError(f"took {time.thread_time() - start:.1f} s")
        if error is not None and (where := locate(error) if error.__traceback__ else "slow"):
            if where not in found:
                print(f"{keep(name, data)}\n    {where}: {str(error)[:200]}", flush=True)
            found.add(where)
    print(f"{name}: {count:,} inputs in {seconds:g} s (mutations), {len(found)} bugs")
    return len(found)


def run_atheris(name: str, seconds: float, seed: int) -> int:
    """The same with Atheris, in a child process, because Atheris exits its process."""
    with TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(
            target=_serve_atheris, args=(name, seconds, seed, folder)
        )
        process.start()
        process.join()
        for artifact in Path(folder).glob("artifact-*"):  # crashes of native code included
            print(keep(name, artifact.read_bytes()))
    return int(process.exitcode != 0)


def _serve_atheris(name: str, seconds: float, seed: int, folder: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["modelpad"]):
        fuzz = load_target(name).fuzz

    def run(data: bytes) -> None:
        with suppress(ModelpadError):
            fuzz(data)

    grown = Path(folder) / "grown"
    grown.mkdir()
    options = [f"-max_total_time={seconds:g}", f"-seed={seed}", f"-max_len={MAX_BYTES}"]
    options += ["-timeout=20", "-print_final_stats=1", "-verbosity=0"]
    options += [f"-artifact_prefix={folder}/artifact-"]
    atheris.Setup([sys.argv[0], *options, str(grown), str(CORPUS / name)], run)
    atheris.Fuzz()


def main() -> int:
    """Returns 0 if no bug was found."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.run", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("target", choices=NAMES, metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=float, default=60, help="how long to run (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (%(default)s)")
    parser.add_argument("--mutations", action="store_true", help="do not use Atheris")
    args = parser.parse_args()
    guided = find_spec("atheris") is not None and not args.mutations
    run = run_atheris if guided else run_mutations
    return int(run(args.target, args.seconds, args.seed) > 0)


if __name__ == "__main__":
    sys.exit(main())
