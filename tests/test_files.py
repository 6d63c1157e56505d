"""What is no file is refused before it is opened: a pipe would be waited for, a device read without end."""

import os

import pytest

from handdgcl.config import load_config
from handdgcl.data.annotations import annotation_path, decode
from handdgcl.evaluate.handfile import read_hand_file
from handdgcl.evaluate.run import evaluate_row
from handdgcl.files import InputError, read_json
from handdgcl.report.photograph import read_boxes
from handdgcl.train.checkpoint import read_checkpoint

READERS = {
    "annotations": ("camera", lambda path: decode(path.parents[2], "val", "camera")),
    "boxes": ("boxes.json", read_boxes),
    "checkpoint": ("a.safetensors", read_checkpoint),
    "hands": ("a.npz", read_hand_file),
    "json": ("run.json", read_json),
    "parameters": ("params.yaml", load_config),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_is_no_file(tmp_path, kind):
    name, read = READERS[kind]
    path = annotation_path(tmp_path, "val", "camera") if kind == "annotations" else tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(InputError, match=path.name):
        read(path)


def test_an_empty_record_of_a_run_is_named(train, project):
    checkpoint = train("baseline")
    checkpoint.with_name("run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run\.json: commit is missing"):
        evaluate_row(project, "baseline", 3)
