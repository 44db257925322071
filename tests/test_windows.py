"""What Windows lacks is not needed: a process without it imports, serves and predicts.

It stands in for the machine: POSIX functions and modules are gone, signals cannot be handled by the
event loop, folders cannot be opened, renaming does not replace, and names of files are Windows'.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sound_model import QUIET, write_sound_model

PROGRAM = r"""
import asyncio, fcntl, importlib, json, os, pathlib, pkgutil, shutil, signal, socket, subprocess
import sys, tempfile, threading, time, types, urllib.request

real_open, real_rename, flock = os.open, os.rename, fcntl.flock
LOCKS = types.ModuleType("msvcrt")
LOCKS.LK_NBLCK = 2

def locking(descriptor, mode, count):
    try:
        flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error

LOCKS.locking = locking

def open_file(path, flags, *rest, **named):
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return real_open(path, flags, *rest, **named)

def rename(source, target, **named):
    if os.path.exists(target):
        raise FileExistsError(17, "Cannot create a file when that file already exists", target)
    real_rename(source, target, **named)

def check_name(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(os.getcwd()):
        name = os.path.basename(arguments[0])
        if set(name) & set('<>:"|?*') or name.endswith((" ", ".")):
            raise OSError(22, "Invalid argument", arguments[0])

def refuse(*given):
    raise NotImplementedError

GONE = {
    os: ("fork forkpty getpgid getppid getuid geteuid killpg nice pread setpgid setsid sysconf"
         " sched_getaffinity sched_setaffinity statvfs wait3 wait4 O_CLOEXEC O_DIRECTORY O_NOFOLLOW"
         " O_NONBLOCK WNOHANG fchmod chown mkfifo"),
    signal: ("SIGALRM SIGCHLD SIGHUP SIGIO SIGKILL SIGPIPE SIGUSR1 SIGUSR2 alarm pthread_sigmask"
             " setitimer siginterrupt"),
    socket: "SO_REUSEPORT send_fds recv_fds",
}
for module, names in GONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "termios", "pwd", "grp", "pty", "tty"):
    sys.modules[name] = None
sys.modules["msvcrt"] = LOCKS
os.open, os.rename = open_file, rename
shutil._use_fd_functions = False
asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = refuse
sys.addaudithook(check_name)
sys.platform = "win32"

import modelpad
from modelpad.cli.main import main

OPTIONAL = {"torch", "keras", "sklearn", "grpc", "google", "onnx", "obstore", "pyarrow"}
for room in "cli server store engine bundle jobs fields api client feedback".split():
    package = importlib.import_module(f"modelpad.{room}")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            assert (error.name or "").partition(".")[0] in OPTIONAL, error

def run(*words):
    code = main([*words])
    assert code == 0, (words, code)

LABELS = "labels:quiet,loud,from=logits"
run("import", "loudness.onnx", "--input", "audio:16000", "--output", LABELS)
run("predict", "loudness", "quiet.wav")
run("models", "alias", "loudness", "production", "1")
run("models", "push", "store/loudness/1")
run("models", "remove", "loudness@2")
run("models", "verify")
run("samples")
run("doctor")
run("config")

def ask():
    for _ in range(200):
        try:
            body = open("quiet.wav", "rb").read()
            url = f"http://127.0.0.1:{port}/predict/loudness"
            request = urllib.request.Request(url, body, {"content-type": "audio/wav"})
            answers.append(json.load(urllib.request.urlopen(request)))
            break
        except OSError:
            time.sleep(0.05)
    signal.raise_signal(signal.SIGINT)

answers = []
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
threading.Thread(target=ask).start()
run("serve", "loudness@production", "--port", port, "--no-open", "--feedback", "said")
assert answers[0]["label"] == "quiet", answers
print("finished")
"""


@pytest.mark.slow
def test_a_process_without_posix_imports_predicts_and_serves(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    write_sound_model(tmp_path / "loudness.onnx")
    (tmp_path / "quiet.wav").write_bytes(QUIET)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"MODELPAD_STORE": "store", "MODELPAD_CACHE": "cache"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.endswith("finished\n"), done.stdout + done.stderr
