"""Where and with what the numbers were measured, in words that name no host."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("trajopt", "casadi", "crocoddyl", "libpinocchio", "numba", "llvmlite", "numpy")
# Family and model ranges by which vendors tell generations apart; the brand string of a virtual machine may not.
GENERATIONS = {
    ("AuthenticAMD", 23): "Zen or Zen 2",
    ("AuthenticAMD", 25): "Zen 3 or Zen 4",
    ("AuthenticAMD", 26): "Zen 5",
}


def processor() -> str:
    """Brand and generation of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    brand = fields.get("model name", platform.machine())
    generation = GENERATIONS.get((fields.get("vendor_id", ""), int(fields.get("cpu family", 0))))
    return brand if generation is None else f"{brand} ({generation})"


def describe_machine() -> str:
    """Cores, processor, system and Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} shared cores, {processor()}, {platform.system()}, Python {platform.python_version()}"


def package_versions() -> dict[str, str]:
    """Versions of what was compared; "absent" where it is not installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
