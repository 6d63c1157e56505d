"""`python -m handdgcl.train ROW SEED`: one row without its notebook, for torchrun, SLURM and the like.

What it leaves is what the stage leaves; `dvc commit` takes it for the stage's.
"""

import argparse
from pathlib import Path

from handdgcl.project import enter_project, show_progress
from handdgcl.rows import ROWS
from handdgcl.train.run import train_row


def main() -> None:
    """Train one row with the parameters of params.yaml."""
    parser = argparse.ArgumentParser(prog="python -m handdgcl.train", description=__doc__)
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    show_progress()
    project = enter_project()
    train_row(
        arguments.row,
        arguments.seed,
        project.config,
        store=project.store,
        out=project.row(arguments.row, arguments.seed),
        work=project.work(arguments.row, arguments.seed),
        root=Path(),
    )


if __name__ == "__main__":
    main()
