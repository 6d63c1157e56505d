"""The one way to measure: both sides by turns in one run, so that what slows the machine slows both."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from handdgcl.errors import InputError

WARM_UP = 2  # rounds that are not counted
BYTES_PER_GB = 1e9

Work = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        title: what is measured ÷ what it is compared with.
        values: one for each round.
        device: "cpu" or "cuda".
        unit: "" for a ratio or a share.
        bar: what the median must not exceed, or must reach where `at_least`; None = it has no bar.
        at_least: the bar is a least value.
        about: sizes, and the medians that the ratio is made of.
    """

    title: str
    values: list[float]
    device: str = "cpu"
    unit: str = ""
    bar: float | None = None
    at_least: bool = False
    about: dict = field(default_factory=dict)

    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median, upper quartile."""
        return tuple(float(q) for q in np.percentile(self.values, (25, 50, 75)))

    def met(self) -> bool | None:
        """Whether the median meets the bar; None = there is none."""
        if self.bar is None:
            return None
        median = self.quartiles()[1]
        return median >= self.bar if self.at_least else median <= self.bar


def alternate(
    *works: Work, rounds: int, warm_up: int = WARM_UP, clock: Callable[[], float] | None = None
) -> np.ndarray:
    """Times of pieces of work done by turns: ours, bare, ours, bare, …

    Args:
        works: ours and bare, or any number; each must have ended when it returns (see `finished`).
        rounds: turns that count.
        warm_up: turns before them that do not.
        clock: seconds; default: the wall clock.

    Returns:
        `[rounds, W]` seconds, in the order of the works.
    """
    clock = clock or time.perf_counter
    times = np.empty((warm_up + rounds, len(works)))
    for turn in tqdm(times, desc="rounds", leave=False):
        for side, work in enumerate(works):
            start = clock()
            work()
            turn[side] = clock() - start
    return times[warm_up:]


def cost(title: str, times: np.ndarray, **rest) -> Figure:
    """Seconds of ours ÷ seconds of the bare work, round by round; `rest` as in `Figure`."""
    return Figure(title, (times[:, 0] / times[:, 1]).tolist(), **_with_seconds(times, rest))


def speed(title: str, times: np.ndarray, **rest) -> Figure:
    """The inverse of `cost`: ours per second ÷ bare work per second."""
    return Figure(title, (times[:, 1] / times[:, 0]).tolist(), at_least=True, **_with_seconds(times, rest))


def _with_seconds(times: np.ndarray, rest: dict) -> dict:
    ours, bare = np.median(times, axis=0).tolist()
    return rest | {"about": rest.get("about", {}) | {"seconds": ours, "bare_seconds": bare}}


def finished(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident_bytes() -> tuple[int, int]:
    """This process's memory: now, and the most it ever had.

    Linux counts the parent's memory in a child's `ru_maxrss`, so its own status is read.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
        return peak, peak
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, most = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def run_python(module: str, *arguments: object) -> dict:
    """What a module of ours prints as JSON, run in a fresh interpreter.

    Raises:
        InputError: it failed.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(command)}: ended with {done.returncode}; its own message stands above")
    return json.loads(done.stdout)
