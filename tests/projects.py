"""Projects with tiny stores, and what their trainings leave."""

import msgspec
import pandas as pd

from handdgcl.project import Project


def tiny_project(folder, config, store, tracking, patch):
    """A project whose root is `folder`, from now on the working folder; `patch`: pytest's MonkeyPatch."""
    enter(folder, tracking, patch)
    project = Project(config)
    project.store.parent.mkdir(parents=True)
    project.store.symlink_to(store)
    return project


def enter(folder, tracking, patch):
    """Work in `folder`, with MLflow's store in `tracking`."""
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking / 'mlflow.db'}")
    patch.chdir(folder)


def change(config, section, **values):
    """The parameters with some of one section changed."""
    part = msgspec.structs.replace(getattr(config, section), **values)
    return msgspec.structs.replace(config, **{section: part})


def curves(checkpoint):
    return pd.read_csv(checkpoint.with_name("curves.csv"))
