"""`python -m handdgcl.train ROW SEED`: train one row with the parameters of params.yaml."""

import argparse
from pathlib import Path

from handdgcl.config import load_config
from handdgcl.project import enter_project, in_one_line, show_progress
from handdgcl.rows import ROWS
from handdgcl.train.run import train_row

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m handdgcl.train", description=__doc__.partition(": ")[2])
    parser.add_argument("row", choices=list(ROWS))
    parser.add_argument("seed", type=int)
    parser.add_argument("--scratch", action="store_true", help="leave the pipeline's outputs alone")
    parser.add_argument("--config", type=Path, help="parameters that are not those of params.yaml")
    arguments = parser.parse_args()
    show_progress()
    with in_one_line():
        config = load_config(arguments.config) if arguments.config else None
        train_row(arguments.row, arguments.seed, enter_project(scratch=arguments.scratch), config=config)
