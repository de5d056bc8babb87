"""What a number was made with: versions, commit, machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

PACKAGES = ("torch", "torchvision", "spikingjelly", "eventcv", "numpy", "reidlib")


def provenance() -> dict:
    """Versions of the packages that shape a result, the git commit of the code and the hardware it ran on.

    The result holds plain JSON values: `{"versions": {...}, "commit": str, "hardware": {...}}`. What cannot be
    found out is the empty string (no git checkout, no GPU), never a guess.
    """
    return {"versions": versions(), "commit": commit(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Version of Python and of every package in `PACKAGES`."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """Commit of the checkout that this package lies in, with `+changes` when files differ from it; "" without one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installed copy inside someone else's checkout must not report that one
        return ""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def hardware() -> dict:
    """CPU model, cores this process may use, memory in GiB and names of the GPUs that torch sees."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return {"cpu": _cpu_model(), "cores": cores, "memory_gib": _memory_gib(), "gpu": _gpu_names(), "system": platform.system()}


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True)
    return result.stdout.strip()


def _cpu_model() -> str:
    if platform.system() == "Darwin":
        result = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        return result.stdout.strip() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    import psutil

    return round(psutil.virtual_memory().total / 2**30, 1)


def _gpu_names() -> str:
    torch = sys.modules.get("torch")  # a process that has not imported torch used no GPU
    if torch is None or not torch.cuda.is_available():
        return ""
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
