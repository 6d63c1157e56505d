"""A disturbance of one's own, as the README tells it, in a copy of the library."""

import json
import os
import re
import shutil
import subprocess
import sys

from handdgcl.config import to_dict
from handdgcl.project import project_root

ROOT = project_root(__file__)
RUN = """
import msgspec
from handdgcl.config import load_config
from handdgcl.project import Project
from handdgcl.train.checkpoint import load_model
from handdgcl.train.run import train_row
config = load_config("params.yaml")
config = msgspec.structs.replace(config, disturb=config.disturb | {"drop": 0.1})
trained = load_model(train_row("drop", 3, Project(config)))
print(trained.dgclnet.disturbance.strength, load_model(train_row("mask", 3, Project(config))).info["row"])
"""


def test_a_class_and_a_line_are_enough_and_nothing_else_is_trained_again(
    train, project, tiny_config, tmp_path
):
    mask = train("mask")
    before = mask.with_name("run.json").read_bytes()
    shutil.copytree(
        ROOT / "handdgcl", tmp_path / "copy" / "handdgcl", ignore=shutil.ignore_patterns("__pycache__")
    )
    told = re.search(
        r"# handdgcl/model/drop_nodes.py\n(.*?)# handdgcl/rows.py: *(Row.*?)\n# and on its top: *(.*?)\n",
        (ROOT / "README.md").read_text(),
        re.S,
    )
    model, rows = (tmp_path / "copy" / "handdgcl" / name for name in ("model/drop_nodes.py", "rows.py"))
    model.write_text(told[1])
    text = rows.read_text().replace("        # Controls,", f"        {told[2]}\n        # Controls,")
    rows.write_text(text.replace("\n\n@dataclass", f"\n{told[3]}\n\n\n@dataclass", 1))
    (tmp_path / "params.yaml").write_text(json.dumps(to_dict(tiny_config)))
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "copy")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["0.1", "mask"], done.stderr[-2000:]
    assert mask.with_name("run.json").read_bytes() == before
    assert project.checkpoint("drop", 3).exists()
