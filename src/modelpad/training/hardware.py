"""What a training ran on, in words; only files and modules that are there already are asked."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from modelpad.foreign_json import Json

CPU_INFO = Path("/proc/cpuinfo")


def describe_hardware() -> dict[str, Json]:
    """Processor, the cores that may be used, accelerator if PyTorch uses one, system and Python."""
    found: dict[str, Json] = {"processor": name_processor(), "cores": count_cores()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["accelerator"] = str(torch.cuda.get_device_name())
    return found | {"system": platform.system(), "python": platform.python_version()}


def name_processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = CPU_INFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def count_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
