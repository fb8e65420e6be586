"""By what a number was made: versions, revision, machine, command."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmtheory

PACKAGES = ("torch", "numpy", "scipy", "cvxpy", "clarabel")


@cache
def code_version() -> str:
    """``0.1.0+<hash>``: the version and a hash of the Python sources of mmtheory and of every package that registers claims.

    Results of different sources are never mixed in one run folder, even between two edits of one checkout.
    """
    roots = {"mmtheory", *(entry.module.split(".")[0] for entry in entry_points(group="mmtheory.claims"))}
    digest = hashlib.blake2b(digest_size=6)
    for root in sorted(roots):
        for path in _sources(root):
            digest.update(str(path.name).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{mmtheory.__version__}+{digest.hexdigest()}"


def _sources(package: str) -> list[Path]:
    """The Python files of a package or module, found without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return []
    origin = Path(spec.origin)
    return sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def made_by(*, device: str, seed: int, command: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a reader needs in order to make the same number again, as JSON."""
    return {
        "version": code_version(),
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "device": device,
        "device_name": _device_name(device),
        "cores": os.cpu_count(),
        "threads": 1,
        "seed": seed,
        "command": shlex.join(command or ("mmtheory", *sys.argv[1:])),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def package_versions() -> Mapping[str, str]:
    """The versions of the packages that compute."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def git_state() -> dict[str, Any] | None:
    """Revision and dirtiness of the checkout that mmtheory was imported from; None for an installed wheel."""
    root = Path(mmtheory.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    revision, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if revision is None else {"revision": revision, "dirty": bool(status)}


def _git(root: Path, *words: str) -> str | None:
    """What a git command prints, or None where it cannot be run."""
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _device_name(device: str) -> str:
    """The GPU's name, or the processor's."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
