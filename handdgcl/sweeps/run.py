"""Run sweeps: train what is not trained yet, measure it, and write each sweep's tables.

Trained runs are kept in runs/sweeps/, by what decides them, so sweeps share what they have in common. Any
number of processes may run the same sweeps: each takes the next run that no other one has.
"""

import gc
import json
import logging
import time
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from handdgcl import provenance
from handdgcl.atomic import replacing, write_json
from handdgcl.config import to_dict
from handdgcl.evaluate import checkpoint as reading
from handdgcl.evaluate import run as metric
from handdgcl.sweeps import measure
from handdgcl.sweeps.plan import NAME, Plan, SweepRun, base_config, digest_of, store_of, sweep_runs
from handdgcl.train import train_row

RESULTS = Path("reports/sweeps/results")
MONITORS = ("train_self", "train_cross", "feature_std", "effective_rank", "pose_correlation")

log = logging.getLogger(__name__)


def run_sweeps(names: list[str], plan: Plan, *, root: Path) -> None:
    """Train and measure all runs of some sweeps that are not there yet, and write their tables.

    Args:
        names: of sweeps.
        plan: of `load_plan`.
        root: the project's root.

    Raises:
        InputError: a sweep, parameter or store is not there, or a file could not be written.
    """
    wanted = {name: sweep_runs(plan, name, root=root) for name in names}
    progress = _Progress({run.name: run for runs in wanted.values() for run in runs}, root)
    written = set()
    for wait in (False, True):  # what another process is at comes last
        for name, runs in wanted.items():
            for run in runs:
                ensure(run, store=root / store_of(plan), root=root, wait=wait, progress=progress)
            if name not in written and all(samples_file(run, root).exists() for run in runs):
                write_tables(name, runs, plan, root=root)
                written.add(name)


def ensure(run: SweepRun, *, store: Path, root: Path, wait: bool, progress: "_Progress") -> None:
    """Train and measure a run, unless it is there, or another process is at it and this one need not wait."""
    samples, folder = samples_file(run, root), folder_of(run, root)
    if samples.exists():
        return
    work = folder.parent / "work" / run.name
    try:
        work.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(work.with_suffix(".lock"), blocking=wait):
            if samples.exists():
                return
            if not (folder / "checkpoint.ckpt").exists():
                progress.say(run)
                train_row(run.row, run.seed, run.config, store=store, out=folder, work=work, root=root)
                gc.collect()  # Lightning's objects hold each other, and with them the run's decoded images
                progress.count()
            table = measure.validation_samples(folder / "checkpoint.ckpt", store)
            write_json(folder / "about.json", run.identity | {"machine": provenance.machine()})
            with replacing(samples) as path:
                table.to_csv(path, index=False, float_format="%.4g")
    except Timeout:
        log.info("%s: another process is at it", run.name)


def write_tables(name: str, runs: list[SweepRun], plan: Plan, *, root: Path) -> None:
    """Leave a sweep's runs.csv, samples.csv and about.json in reports/sweeps/results/<name>."""
    out, lines, samples, machines = root / RESULTS / name, [], {}, []
    for run in runs:
        folder = folder_of(run, root)
        table = pd.read_csv(samples_file(run, root))
        facts = json.loads((folder / "run.json").read_text())
        last = pd.read_csv(folder / "curves.csv").iloc[-1]
        line = {"row": run.row, "point": run.point, "seed": run.seed, "run": run.name}
        line |= plan.sweeps[name].points[run.point]
        line |= table[list(measure.ERRORS)].mean().to_dict()
        line |= {monitor: last[monitor] for monitor in MONITORS if monitor in last}
        lines.append(line | {key: facts[key] for key in ("seconds", "commit")})
        samples[run.name] = table
        machines.append(json.loads((folder / "about.json").read_text())["machine"])
    with replacing(out / "runs.csv") as path:
        pd.DataFrame(lines).to_csv(path, index=False, float_format="%.5g")
    with replacing(out / "samples.csv") as path:
        merged = pd.concat(samples, names=["run"]).reset_index("run")
        merged.to_csv(path, index=False, float_format="%.4g")
    about = {
        "sweep": name,
        "split": "val",
        "samples": len(table),
        "commits": sorted({line["commit"] for line in lines}),
        "machines": [m for k, m in enumerate(machines) if m not in machines[:k]],
        "versions": provenance.versions(),
        "parameters": to_dict(base_config(plan, root)),
    }
    write_json(out / "about.json", about)


def folder_of(run: SweepRun, root: Path) -> Path:
    """Where a trained run is kept."""
    return root / "runs" / NAME / run.name


def samples_file(run: SweepRun, root: Path) -> Path:
    """Its errors, by the code that measures now: with other code they are measured again."""
    measured_by = digest_of([Path(module.__file__) for module in (measure, metric, reading)])
    return folder_of(run, root) / f"samples-{measured_by}.csv"


class _Progress:
    """Which run of how many, and how long the rest takes, were this process alone."""

    def __init__(self, runs: dict[str, SweepRun], root: Path):
        self.runs, self.root = runs, root
        self.start, self.trained = time.monotonic(), 0

    def say(self, run: SweepRun) -> None:
        """Before a run."""
        missing = sum(not samples_file(r, self.root).exists() for r in self.runs.values())
        each = (time.monotonic() - self.start) / self.trained if self.trained else None
        left = "" if each is None else f", about {each * missing / 60:.0f} min left"
        at = len(self.runs) - missing + 1
        log.info("run %d of %d: %s, %s, seed %d%s", at, len(self.runs), run.row, run.point, run.seed, left)

    def count(self) -> None:
        """After it."""
        self.trained += 1
