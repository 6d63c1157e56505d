"""Training on several devices: processes of torchrun, of SLURM and of a notebook, on the CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
from nbclient import NotebookClient

from handdgcl.config import to_dict

PATIENCE_S = 600  # with processes of seconds, on a machine that others use as well
OUTPUTS = Path("runs/tiny/rows/similarity/3")


def test_two_processes_train_as_one_on_the_joint_batch(tiny_config, tiny_store, tmp_path):
    alone = start_processes(tiny_config, tiny_store, tmp_path / "1", 1, "still")
    together = start_processes(tiny_config, tiny_store, tmp_path / "2", 2, "still")
    for process in alone + together:
        assert process.wait(PATIENCE_S) == 0
    one, two = tmp_path / "1", tmp_path / "2"
    for file in ("queue-0.pt", "queue-1.pt"):  # every process holds the same queue
        queue, expected = torch.load(two / file), torch.load(one / "queue-0.pt")
        assert (queue["index"] == expected["index"]).all()
        assert torch.allclose(queue["poses"], expected["poses"], atol=1e-5)
        assert torch.allclose(queue["features"], expected["features"], atol=1e-3)
    table, expected = (pd.read_csv(folder / OUTPUTS / "curves.csv") for folder in (two, one))
    terms = [name for name in table.columns if name.startswith(("train_", "val_"))]
    assert {"train_self", "train_cross", "train_consistent"} <= set(terms)
    assert np.allclose(table[terms], expected[terms], rtol=1e-3)


def test_two_processes_go_on_after_a_kill_under_slurm_too(tiny_config, tiny_store, tmp_path):
    whole = start_processes(tiny_config, tiny_store, tmp_path / "whole", 2, "whole")
    cut = start_processes(tiny_config, tiny_store, tmp_path / "cut", 2, "cut")
    assert [process.wait(PATIENCE_S) for process in whole + cut] == [0, 0, 3, 3]
    assert list((tmp_path / "cut").glob("runs/tiny/work/*/states/last.ckpt"))
    assert not (tmp_path / "cut" / "history-0.json").exists()
    resumed = start_processes(tiny_config, tiny_store, tmp_path / "cut", 2, "whole", start=slurm)
    assert [process.wait(PATIENCE_S) for process in resumed] == [0, 0]
    assert (tmp_path / "cut" / "began-1").read_text() == "1"  # with the second epoch
    for name in (OUTPUTS / "checkpoint.safetensors", OUTPUTS / "curves.csv", "history-0.json"):
        ours, theirs = ((tmp_path / folder / name).read_bytes() for folder in ("cut", "whole"))
        assert ours == theirs, name
    for folder in (tmp_path / "whole", tmp_path / "cut"):  # each process has validated with the same norms
        assert (folder / "history-1.json").read_bytes() == (folder / "history-0.json").read_bytes()


def test_a_notebook_trains_on_two_devices_in_processes_of_its_own(
    project, tiny_config, tmp_path, monkeypatch
):
    """Inside a kernel, which may not fork; the code is that of the launched processes too."""
    settings = to_dict(tiny_config)
    settings["train"] |= {"devices": 2, "batch_size": 2}
    (tmp_path / "params.yaml").write_text(json.dumps(settings))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    cells = [
        "from handdgcl.project import enter_project, show_progress\nshow_progress()",
        "from handdgcl.train.run import train_row\nprint(train_row('mask', 3, enter_project(scratch=True)))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    monkeypatch.setenv("JUPYTER_PATH", sys.prefix + "/share/jupyter")
    executed = NotebookClient(notebook, timeout=PATIENCE_S, kernel_name="python3").execute()
    said = "".join(output.get("text", "") for output in executed.cells[1].outputs)
    assert "mask, seed 3: epoch 2 of 2" in said
    assert len(list((tmp_path / "runs/tiny/scratch/rows").glob("mask-3-*/checkpoint.safetensors"))) == 1


def torchrun(count, rank):
    """What torchrun sets."""
    joint = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    return joint | {"RANK": rank, "LOCAL_RANK": rank}


def slurm(count, rank):
    """What srun sets in a batch job of one node."""
    job = {
        "SLURM_JOB_ID": 1,
        "SLURM_STEP_NUM_TASKS": count,
        "SLURM_JOB_NAME": "test",
        "SLURM_NODELIST": "localhost",
        "SLURM_NODEID": 0,
    }
    tasks = {"SLURM_NTASKS": count, "SLURM_NTASKS_PER_NODE": count}
    return job | tasks | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank}


def start_processes(config, store, out, count, mode, *, start=torchrun):
    """`count` processes that train together on joint batches of 4."""
    settings = to_dict(config)
    settings["train"] |= {"devices": count, "batch_size": 4 // count}
    (out / "runs" / "tiny" / "data").mkdir(parents=True, exist_ok=True)
    if not (out / "runs/tiny/data/store").exists():
        (out / "runs/tiny/data/store").symlink_to(store)
    (out / "params.yaml").write_text(json.dumps(settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1], "OMP_NUM_THREADS": 1}
    script = Path(__file__).with_name("one_rank.py")
    own = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}  # which MLflow sets
    return [
        subprocess.Popen(
            [sys.executable, script, out / "params.yaml", out, mode],
            env=own | {k: str(v) for k, v in (meet | start(count, rank)).items()},
        )
        for rank in range(count)
    ]
