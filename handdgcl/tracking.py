"""MLflow: parameters, curves, metrics and artefacts of every run, in a local SQLite store by default.

Nothing downstream reads MLflow; it shows live curves and compares runs. `MLFLOW_TRACKING_URI` names
another store. A run that the store does not know, as its results came out of DVC's cache, begins anew.
"""

import os
from pathlib import Path

from filelock import FileLock
from lightning.pytorch.loggers import MLFlowLogger

from handdgcl import provenance
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
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
    lock = home / "mlruns" / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # whoever opens a new store first makes its tables and the experiment
        run_id = run_id if run_id is not None and _is_known(uri, run_id) else None
        logger = MLFlowLogger(
            experiment_name=EXPERIMENT,
            run_name=f"{config.profile}-{row}-{seed}",
            tracking_uri=uri,
            artifact_location=(home / "mlruns").as_uri(),
            tags={"row": row, "seed": str(seed), "profile": config.profile, "commit": provenance.commit()},
            run_id=run_id,
        )
        if run_id is None:
            sections = {key: value for key, value in to_dict(config).items() if key != "seeds"}
            logger.log_hyperparams({**sections, "row": row, "seed": seed, **provenance.machine()})
    return logger


def _checkout(root: Path) -> Path:
    """The project that people look at: DVC runs queued experiments in copies below .dvc/, then deleted."""
    return next((folder.parent for folder in root.parents if folder.name == ".dvc"), root)


def _is_known(uri: str, run_id: str) -> bool:
    from mlflow import MlflowClient  # seconds that only a run's start should take
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri).get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def log_results(logger: MLFlowLogger, metrics: dict[str, float], folder: Path) -> None:
    """Add a finished run's test metrics and result files."""
    logger.log_metrics({f"test_{name}": value for name, value in metrics.items()})
    for file in sorted(folder.iterdir()):
        logger.experiment.log_artifact(logger.run_id, str(file))
