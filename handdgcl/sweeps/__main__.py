"""`python -m handdgcl.sweeps [NAME ...]`: run sweeps of reports/sweeps/sweeps.yaml, all by default.

Start it twice for two processes; they share the runs between them. `dvc repro reports/sweeps/dvc.yaml` then
finds all of them done.
"""

import argparse
from pathlib import Path

from handdgcl.project import enter_project, show_progress
from handdgcl.sweeps.plan import load_plan
from handdgcl.sweeps.run import run_sweeps


def main() -> None:
    """Run the sweeps that are named."""
    enter_project()
    plan = load_plan()
    parser = argparse.ArgumentParser(prog="python -m handdgcl.sweeps", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(plan.sweeps))
    names = parser.parse_args().names
    show_progress()
    run_sweeps(names or list(plan.sweeps), plan, root=Path())


if __name__ == "__main__":
    main()
