"""`python -m handdgcl.evaluate`: measure the mean hand and every trained row of this project, test split."""

from handdgcl.evaluate.run import evaluate_project
from handdgcl.project import enter_project, in_one_line

if __name__ == "__main__":
    with in_one_line():
        evaluate_project(enter_project())
