"""`python tests/campaigns/kills.py [KILLS [FOLDER]]`: killed at random, the pipeline ends as if never killed.

A clone runs `dvc repro` at smoke size without interruption. Another is killed again and again with all its
processes (SIGKILL), at random moments over all stages, and started again; when it has come to its end, or the
last stage has had a fifth of all kills, its runs are deleted. Then it is left alone. A start that fails by
itself, or outputs that differ from the first clone's, count as failures. Writes to reports/reliability. Hours
for 100 kills.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.utils.hydra import compose_and_dump

from handdgcl import tracking
from handdgcl.files import read_json, write_json

ROOT = Path(__file__).parents[2]
OUT = ROOT / "reports" / "reliability" / "kills.json"
SMALLER = ["profile=smoke", "train.epochs=2", "generate.images.train=48"]
LAST = "tables"
STATE = "state.json"  # counts so far, in the folder
WAIT_S = 3, 30  # a start is killed after this, at random
SAME = ("samples.csv", "joints.json", "curves.csv", "features.csv")  # metrics.json holds times


def prepare(folder: Path) -> Path:
    """A clone with parameters of smoke size."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    compose_and_dump(str(folder / "params.yaml"), str(folder / "conf"), None, "config", "", SMALLER)
    return folder


def repair(folder: Path) -> bool:
    """As `make` does: a kill while DVC writes its lock file leaves it empty, which DVC refuses."""
    lock = folder / ".dvc" / "tmp" / "rwlock"
    broken = lock.exists() and not lock.stat().st_size
    if broken:
        lock.unlink()
    return broken


def start(folder: Path, log: Path) -> psutil.Popen:
    """`dvc repro` in a clone, as `make` starts it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # of papermill
    environment = os.environ | {
        "PYTHONUTF8": "1",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(folder),
        "PATH": path,
    }
    with log.open("wb") as file:
        command = [sys.executable, "-m", "dvc", "repro"]
        return psutil.Popen(command, cwd=folder, stdout=file, stderr=file, env=environment)


def stage_of(log: Path) -> str:
    """The stage that a log speaks of last."""
    named = [line for line in log.read_text(errors="replace").splitlines() if "Running stage" in line]
    return named[-1].split("'")[1].partition("@")[0] if named else "before any stage"


def kill(process: psutil.Popen) -> None:
    """It and all that it started, at once."""
    family = [process, *process.children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)


def outputs(folder: Path) -> dict[str, str]:
    """Digests of what evaluation wrote."""
    found = sorted((folder / "runs" / "smoke" / "reports" / "rows").glob("*/*"))
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    return {f"{path.parent.name}/{path.name}": digest(path) for path in found if path.name in SAME}


def leftovers(folder: Path) -> list[str]:
    """Temporary files that nothing needs any more."""
    return [str(path) for path in (folder / "runs").rglob(".[0-9]*-*")]


def begin(folder: Path) -> None:
    """The uninterrupted run, the clone to kill, and counts of nothing."""
    for leftover in ("whole", "killed"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    log, whole, _ = folder / "log.txt", prepare(folder / "whole"), prepare(folder / "killed")
    about = {"commit": tracking.commit(), "machine": tracking.machine()}
    if start(whole, log).wait():
        raise SystemExit(f"the uninterrupted run failed:\n{log.read_text(errors='replace')[-3000:]}")
    counts = {"by_stage": {}, "starts_that_failed": [], "lock_files_repaired": 0}
    write_json(folder / STATE, counts | {"expected": outputs(whole), "about": about})


def kill_once(clone: Path, log: Path, counts: dict, most: float) -> None:
    """Start, kill at random, count; delete the runs after an end, or where the last stage had `most`."""
    counts["lock_files_repaired"] += repair(clone)
    process, stages = start(clone, log), counts["by_stage"]
    try:
        if process.wait(random.uniform(*WAIT_S)):
            counts["starts_that_failed"].append(log.read_text(errors="replace")[-500:])
        ended = True
    except psutil.TimeoutExpired:
        stage = stage_of(log)
        stages[stage] = stages.get(stage, 0) + 1
        kill(process)
        time.sleep(1)  # kernels end when they find that papermill is gone
        ended = stage == LAST and stages[stage] >= most
    if ended:
        shutil.rmtree(clone / "runs", ignore_errors=True)
        (clone / "dvc.lock").unlink(missing_ok=True)


def campaign(kills: int, folder: Path) -> dict:
    """The counts; goes on from those in the folder."""
    if not (folder / STATE).exists():
        begin(folder)
    clone, log, counts = folder / "killed", folder / "log.txt", read_json(folder / STATE)
    expected, about = counts.pop("expected"), counts.pop("about")
    while (done := sum(counts["by_stage"].values())) < kills and len(counts["starts_that_failed"]) < 5:
        random.seed(done)
        kill_once(clone, log, counts, kills / 5)
        write_json(folder / STATE, counts | {"expected": expected, "about": about})
        print(counts, flush=True)
    counts["lock_files_repaired"] += repair(clone)
    finished = start(clone, log).wait() == 0
    counts |= {"kills": done, "finished": finished, "outputs_equal": outputs(clone) == expected}
    return counts | {"files_compared": len(expected), "leftovers": len(leftovers(clone))} | about


def main() -> None:
    """Kill, and write the counts."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    print(f"stopped, it goes on with: python tests/campaigns/kills.py {kills} {folder}", flush=True)
    found = campaign(kills, folder)
    write_json(OUT, found)
    print(found)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
