"""Projects with tiny stores, steps of a training in them, and what trainings leave."""

from types import SimpleNamespace

import msgspec
import pandas as pd

from handdgcl.data.loader import open_store, train_batches
from handdgcl.project import Project
from handdgcl.rows import get_row
from handdgcl.train.module import TrainingModule


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


def first_batch(store, config, *, size=4, seed=3):
    """The first batch of a training."""
    settings = {"batch_size": size, "seed": seed, "settings": config.augment, "workers": 0}
    return next(iter(train_batches(open_store(store / "train"), **settings)))


def training_module(row, config, hands, *, seed=3, step=0, rank=0):
    """A row's module in a step, as if in an epoch of one batch."""
    module = TrainingModule(get_row(row), config, hands, seed=seed)
    module.trainer = SimpleNamespace(global_step=step, global_rank=rank, world_size=1, num_training_batches=1)
    return module


def change(config, section, **values):
    """The parameters with some of one section changed."""
    part = msgspec.structs.replace(getattr(config, section), **values)
    return msgspec.structs.replace(config, **{section: part})


def curves(checkpoint):
    return pd.read_csv(checkpoint.with_name("curves.csv"))
