"""`python tests/campaigns/kills.py [KILLS]`: the pipeline, killed at random, ends as if it had not been.

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
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.utils.hydra import compose_and_dump

from handdgcl import tracking
from handdgcl.files import write_json

ROOT = Path(__file__).parents[2]
OUT = ROOT / "reports" / "reliability" / "kills.json"
SMALLER = ["profile=smoke", "train.epochs=2", "generate.images.train=48"]
LAST = "tables"
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
    environment = os.environ | {"PYTHONUTF8": "1", "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(folder)}
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


def campaign(kills: int, folder: Path) -> dict:
    """The counts."""
    log, whole = folder / "log.txt", prepare(folder / "whole")
    if start(whole, log).wait():
        raise SystemExit(f"the uninterrupted run failed:\n{log.read_text(errors='replace')[-3000:]}")
    expected, clone, failed, where = outputs(whole), prepare(folder / "killed"), [], Counter()
    repaired = 0
    while sum(where.values()) < kills:
        repaired += repair(clone)
        process = start(clone, log)
        try:
            if process.wait(random.uniform(*WAIT_S)):
                failed.append(log.read_text(errors="replace")[-500:])
            anew = True
        except psutil.TimeoutExpired:
            where[stage := stage_of(log)] += 1
            kill(process)
            time.sleep(1)  # kernels end when they find that papermill is gone
            anew = where[stage] >= kills / 5 and stage == LAST
        if anew:
            shutil.rmtree(clone / "runs", ignore_errors=True)
            (clone / "dvc.lock").unlink(missing_ok=True)
        print(sum(where.values()), dict(where), len(failed), repaired, flush=True)
    repaired += repair(clone)
    last = start(clone, log).wait()
    same = outputs(clone) == expected
    return {
        "kills": sum(where.values()),
        "by_stage": dict(where),
        "starts_that_failed": failed,
        "lock_files_repaired": repaired,
        "finished": last == 0,
        "outputs_equal": same,
        "files_compared": len(expected),
        "leftovers": len(leftovers(clone)),
    }


def main() -> None:
    """Kill, and write the counts."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    random.seed(0)
    about = {"commit": tracking.commit(), "machine": tracking.machine()}  # of the clones, made first
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(kills, Path(folder))
    write_json(OUT, found | about)
    print(found)


if __name__ == "__main__":
    main()
