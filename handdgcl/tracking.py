"""MLflow: parameters, curves, metrics and artefacts of every run, in a local SQLite store by default.

Nothing downstream reads MLflow; it shows live curves and compares runs. `MLFLOW_TRACKING_URI` names
another store.
"""

import os
from pathlib import Path

from lightning.pytorch.loggers import MLFlowLogger

from handdgcl import provenance
from handdgcl.config import Config, to_dict

EXPERIMENT = "handdgcl"


def run_logger(config: Config, *, row: str, seed: int, root: Path, run_id: str | None = None) -> MLFlowLogger:
    """The logger of one training run.

    Args:
        config: logged as the run's parameters.
        row, seed: name the run.
        root: the project's root; holds mlflow.db and mlruns/.
        run_id: a run to go on with, or None for a new one.
    """
    logger = MLFlowLogger(
        experiment_name=EXPERIMENT,
        run_name=f"{config.profile}-{row}-{seed}",
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{root.resolve() / 'mlflow.db'}"),
        artifact_location=(root.resolve() / "mlruns").as_uri(),
        tags={"row": row, "seed": str(seed), "profile": config.profile, "commit": provenance.commit()},
        run_id=run_id,
    )
    if run_id is None:
        sections = {key: value for key, value in to_dict(config).items() if key != "seeds"}
        logger.log_hyperparams({**sections, "row": row, "seed": seed, **provenance.machine()})
    return logger


def log_results(logger: MLFlowLogger, metrics: dict[str, float], folder: Path) -> None:
    """Add a finished run's test metrics and result files."""
    logger.log_metrics({f"test_{name}": value for name, value in metrics.items()})
    for file in sorted(folder.iterdir()):
        logger.experiment.log_artifact(logger.run_id, str(file))
