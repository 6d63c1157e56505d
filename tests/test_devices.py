"""A training step of every row on another device: most of what a GPU would refuse fails here, without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from handdgcl.rows import ROWS

PROGRAM = Path(__file__).with_name("other_device.py")


@pytest.fixture(scope="module")
def steps():
    made = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout)


@pytest.mark.parametrize("row", ROWS)
def test_a_step_stays_on_its_device(row, steps):
    assert steps[row] == ""
