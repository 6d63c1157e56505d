"""MLflow's store: whose it is, and what happens where it does not know a run."""

import shutil

from mlflow import MlflowClient

from handdgcl.tracking import run_logger


def log(config, root, run_id=None):
    return run_logger(config, row="mask", seed=1, root=root, run_id=run_id)


def test_a_run_goes_on_or_begins_anew(tiny_config, tracking):
    first = log(tiny_config, tracking).run_id
    assert log(tiny_config, tracking, first).run_id == first
    unknown = log(tiny_config, tracking, "0" * 32)
    unknown.log_metrics({"test_mpjpe_mm": 1.0})
    assert unknown.run_id not in (first, "0" * 32)


def test_a_queued_experiment_logs_to_the_checkout(tiny_config, tracking, tmp_path, monkeypatch):
    """DVC deletes the experiment's own folder."""
    first = log(tiny_config, tracking).run_id
    for file in tracking.glob("mlflow.db*"):  # whose tables are made
        shutil.copy(file, tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    folder.mkdir(parents=True)
    found = log(tiny_config, folder).run_id
    assert found != first and log(tiny_config, folder, first).run_id == first
    assert MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").get_run(found).data.tags["row"] == "mask"
    assert not list(folder.iterdir())
