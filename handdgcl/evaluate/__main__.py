"""`python -m handdgcl.evaluate`: measure the mean hand and every trained row of this project, test split."""

import json
import shutil
from pathlib import Path

from handdgcl.evaluate.features import write_features
from handdgcl.evaluate.run import MEAN_HAND, evaluate_checkpoint, evaluate_mean_hand
from handdgcl.files import replacing
from handdgcl.project import Project, enter_project
from handdgcl.rows import ROWS
from handdgcl.tracking import log_results, run_logger


def main(project: Project) -> None:
    """Leave metrics.json, samples.csv, features.csv, … of each row and seed in its folder, and in MLflow."""
    evaluate_mean_hand(project.config, store=project.store, out=project.results(MEAN_HAND, 0))
    for row in ROWS:
        for seed in project.config.seeds:
            measure(project, row, seed)


def measure(project: Project, row: str, seed: int) -> None:
    """Measure one trained row."""
    checkpoint, out = project.checkpoint(row, seed), project.results(row, seed)
    metrics = evaluate_checkpoint(checkpoint, project.config, store=project.store, out=out)
    write_features(checkpoint, store=project.store, out=out, hands=project.config.data.hands)
    with replacing(out / "curves.csv") as path:
        shutil.copyfile(checkpoint.with_name("curves.csv"), path)
    run_id = json.loads((out / "metrics.json").read_text())["mlflow_run"]
    logger = run_logger(project.config, row=row, seed=seed, root=Path(), run_id=run_id)
    log_results(logger, metrics, out)


if __name__ == "__main__":
    main(enter_project())
