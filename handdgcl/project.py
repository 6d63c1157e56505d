"""Where a run's files are: one place for the folders that the pipeline and the notebooks share."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handdgcl.config import Config, load_config
from handdgcl.files import InputError

SPLITS = ("train", "val", "test")
ROOT_MARK = "dvc.yaml"
PARAMETERS = "params.yaml"
BAD_INPUT = 2  # exit code, as argparse's own


@dataclass(frozen=True)
class Project:
    """The folders of one profile, relative to the project's root.

    Attributes:
        config: the parameters of the run.
        scratch: a lesson run by hand: it reads what the pipeline made and writes beside it.
    """

    config: Config
    scratch: bool = False

    @property
    def runs(self) -> Path:
        """What DVC keeps or anyone can make again: data, checkpoints, executed notebooks."""
        return Path("runs") / self.config.profile

    @property
    def reports(self) -> Path:
        """What people read; in scratch a folder beside."""
        return self.runs / "scratch" / "reports" if self.scratch else Path(self.config.reports)

    @property
    def rendered(self) -> Path:
        """The rendered data set, where there is one; nothing but the preparation reads it."""
        return self.runs / "data" / "interhand"

    @property
    def store(self) -> Path:
        """The prepared crops, one folder for each split."""
        return self.runs / "data" / "store"

    def row(self, row: str, seed: int) -> Path:
        """The pipeline's outputs of one row and seed: checkpoint.safetensors, curves.csv, run.json."""
        return self.runs / "rows" / row / str(seed)

    def scratch_row(self, row: str, seed: int, digest: str) -> Path:
        """Outputs of a row that is not the pipeline's: trained by hand, or with other parameters."""
        return self.runs / "scratch" / "rows" / f"{row}-{seed}-{digest}"

    def work(self, row: str, seed: int, digest: str) -> Path:
        """The state of a training run, to go on from after an interruption."""
        return self.runs / "work" / f"{row}-{seed}-{digest}"

    def checkpoint(self, row: str, seed: int) -> Path:
        """The weights of one row and seed."""
        return self.row(row, seed) / "checkpoint.safetensors"

    def results(self, row: str, seed: int) -> Path:
        """Test errors of one row and seed."""
        return Path(self.config.reports) / "rows" / f"{row}-{seed}"


def project_root(start: str | Path | None = None) -> Path:
    """The nearest folder with a dvc.yaml, upwards from `start` (the working folder).

    Raises:
        InputError: there is none.
    """
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / ROOT_MARK).is_file():
            return folder
    raise InputError(f"{start}: neither it nor a folder above holds {ROOT_MARK}; work inside the project")


def enter_project(*, scratch: bool = False) -> Project:
    """Make the project's root the working folder and read its parameters.

    papermill starts a notebook in the root, JupyterLab in the notebook's folder: after this call both
    see the same relative paths as dvc.yaml.

    Raises:
        InputError: not inside the project, params.yaml is missing or wrong, or `runs` is a link.
    """
    os.chdir(project_root())
    project = Project(load_config(PARAMETERS), scratch)
    for folder in (Path("runs"), project.runs, project.runs / "data", project.runs / "rows"):
        if folder.is_symlink() and not scratch:
            raise InputError(f"{folder}: a link, which DVC does not track; clone onto the disk that has room")
    return project


@contextmanager
def in_one_line() -> Iterator[None]:
    """End a program whose input cannot be used with one line on stderr and `BAD_INPUT`, not a traceback."""
    try:
        yield
    except InputError as error:
        complain(error)
        sys.exit(BAD_INPUT)


def complain(error: InputError) -> None:
    """One line on stderr."""
    sys.stderr.write(f"handdgcl: {' '.join(str(error).split())}\n")


def show_progress() -> None:
    """Let a notebook show this package's progress, and of its libraries the warnings and errors only."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    levels = {"handdgcl": logging.INFO} | dict.fromkeys(
        ("lightning.pytorch", "lightning.fabric", "mlflow"), logging.WARNING
    )
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    # Lightning's advice on workers, folders and logging intervals: all chosen on purpose.
    warnings.filterwarnings("ignore", module="lightning")
