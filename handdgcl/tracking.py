"""MLflow: parameters, curves, metrics and artefacts of every run, in a local SQLite store by default.

Nothing downstream reads MLflow; it shows live curves and compares runs. `MLFLOW_TRACKING_URI` names
another store. A run that the store does not know, as its results came out of DVC's cache, begins anew.
"""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock
from lightning.pytorch.loggers import MLFlowLogger

from handdgcl.config import Config, to_dict

EXPERIMENT = "handdgcl"


def run_logger(config: Config, *, row: str, seed: int, root: Path, run_id: str | None = None) -> MLFlowLogger:
    """The logger of one training run.

    Args:
        config: logged as the run's parameters.
        row, seed: name the run.
        root: the project's root; it or, in an experiment of DVC's queue, the checkout holds mlflow.db and
            mlruns/.
        run_id: a run to go on with, or None for a new one.
    """
    home = _checkout(root.resolve())
    store, lock = home / "mlflow.db", home / "mlruns" / ".lock"
    uri = os.environ.get("MLFLOW_TRACKING_URI", _sqlite(store))
    lock.parent.mkdir(parents=True, exist_ok=True)
    experiment = {"experiment": name} if (name := os.environ.get("DVC_EXP_NAME")) else {}
    with FileLock(lock):  # whoever opens a new store first makes its tables and the experiment
        if uri == _sqlite(store) and not store.exists():
            _make_tables(store)
        _restore_experiment(uri)
        run_id = run_id if run_id is not None and _is_known(uri, run_id) else None
        logger = MLFlowLogger(
            experiment_name=EXPERIMENT,
            run_name="-".join([config.profile, row, str(seed), *experiment.values()]),
            tracking_uri=uri,
            artifact_location=(home / "mlruns").as_uri(),
            tags={"row": row, "seed": str(seed), "profile": config.profile, "commit": commit()} | experiment,
            run_id=run_id,
        )
        if run_id is None:
            sections = {key: value for key, value in to_dict(config).items() if key != "seeds"}
            logger.log_hyperparams({**sections, "row": row, "seed": seed, **machine()})
    return logger


def _sqlite(store: Path) -> str:
    """The address of a store: relative, as an address takes "?" and "%20" in a folder's name for its own."""
    return f"sqlite:///{os.path.relpath(store)}"


def _make_tables(store: Path) -> None:
    """Make a new store's tables beside and rename it: a kill never leaves half of them."""
    from mlflow import MlflowClient

    new = store.with_name(f".{os.getpid()}-{store.name}")
    new.unlink(missing_ok=True)  # of a killed process that had the same number
    MlflowClient(_sqlite(new)).search_experiments()
    os.replace(new, store)


def _checkout(root: Path) -> Path:
    """The project that people look at: DVC runs queued experiments in copies below .dvc/, then deleted."""
    return next((folder.parent for folder in root.parents if folder.name == ".dvc"), root)


def _restore_experiment(uri: str) -> None:
    """Take the experiment out of MLflow's bin, where `mlflow ui` puts it: its name stays taken there."""
    from mlflow import MlflowClient  # seconds that only a run's start should take

    found = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    if found is not None and found.lifecycle_stage == "deleted":
        MlflowClient(uri).restore_experiment(found.experiment_id)


def _is_known(uri: str, run_id: str) -> bool:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        return MlflowClient(uri).get_run(run_id).info.lifecycle_stage == "active"  # not in the bin
    except MlflowException:
        return False


CODE = ("handdgcl", "notebooks", "conf", "dvc.yaml", "requirements.lock")  # what a result depends on
PACKAGES = ("torch", "lightning", "transformers", "torch-geometric", "smplx", "numpy")


def commit() -> str:
    """The git commit of the working folder, `+changes` if the code differs from it, or "unknown"."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if _git("status", "--porcelain", "--", *CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, str | int]:
    """Processor, cores, memory, accelerator, operating system and Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {package: version(package) for package in PACKAGES}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    """The processor's name; `platform` does not tell it on Linux."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
