"""MLflow's store: whose it is, and what happens where it does not know a run."""

import os
import shutil

from mlflow import MlflowClient

from handdgcl import tracking as tracked
from handdgcl.tracking import run_logger


def log(config, root, run_id=None):
    return run_logger(config, row="mask", seed=1, root=root, run_id=run_id)


def test_a_run_goes_on_or_begins_anew(tiny_config, tracking):
    first = log(tiny_config, tracking).run_id
    assert log(tiny_config, tracking, first).run_id == first
    unknown = log(tiny_config, tracking, "0" * 32)
    unknown.log_metrics({"test_mpjpe_mm": 1.0})
    assert unknown.run_id not in (first, "0" * 32)


def test_what_lies_in_mlflows_bin_stops_nothing(tiny_config, tracking):
    first = log(tiny_config, tracking)
    client = first.experiment
    client.delete_run(first.run_id)
    again = log(tiny_config, tracking, first.run_id)
    assert again.run_id != first.run_id
    client.delete_experiment(again.experiment_id)
    log(tiny_config, tracking).log_metrics({"test_mpjpe_mm": 1.0})
    assert client.get_experiment(again.experiment_id).lifecycle_stage == "active"


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


def test_a_folders_name_is_not_taken_for_an_address(tiny_config, tracking, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "a%20b?c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(tracking / "mlflow.db", folder)
    found, store = log(tiny_config, folder).run_id, (folder / "mlflow.db").read_bytes()
    assert found.encode() in store and list(tmp_path.iterdir()) == [folder]


def test_tables_of_a_killed_process_are_made_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f".{os.getpid()}-mlflow.db").write_bytes(b"half a table")
    tracked._make_tables(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").stat().st_size > 10_000
