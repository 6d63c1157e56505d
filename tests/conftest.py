import pytest
from layout import write_layout

from handdgcl.config import from_dict, load_config, to_dict
from handdgcl.data.prepare import prepare_split
from handdgcl.hands import load_hands
from handdgcl.project import Project, project_root
from handdgcl.train.run import train_row

# Small enough that a training run takes a second.
TINY = {
    "profile": "tiny",
    "data": {"image_size": 32, "workers": 0, "min_brightness": 0.0},
    "encoder": {"stem": 8, "widths": [8, 16], "depths": [1, 1]},
    "graph": {"nodes": [21, 63], "eigenvectors": 5, "features": 8, "layers": 1, "features_k": 4, "hidden": 8},
    "unet": {"features": 4},
    "contrast": {"queue": 8},
    "train": {"epochs": 2, "batch_size": 4, "precision": "32-true"},
}


@pytest.fixture(scope="session")
def hands():
    return load_hands()


@pytest.fixture(scope="session")
def tiny_config():
    """The default profile with everything made small."""
    raw = to_dict(load_config(project_root(__file__) / "params.yaml"))
    for section, values in TINY.items():
        raw[section] = raw[section] | values if isinstance(values, dict) else values
    return from_dict(raw)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory, tiny_config, hands):
    """Stores train/, val/ and test/ of a small data set in InterHand2.6M's layout."""
    folder = tmp_path_factory.mktemp("tiny")
    layout = write_layout(folder / "interhand", frames=5, cameras=2)
    for split in ("train", "val", "test"):
        prepare_split(layout, split, folder / "store" / split, tiny_config.data, hands)
    return folder / "store"


@pytest.fixture(scope="session")
def tracking(tmp_path_factory):
    """A store of MLflow's for all tests: making its tables takes seconds."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture
def project(tiny_config, tiny_store, tracking, tmp_path, monkeypatch):
    """A project with the tiny stores, in a folder of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tracking / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    project = Project(tiny_config)
    project.store.parent.mkdir(parents=True)
    project.store.symlink_to(tiny_store)
    return project


@pytest.fixture
def train(project):
    """Train a row with seed 3, in scratch where the parameters are others."""

    def run(row="similarity", *, config=None):
        return train_row(row, 3, project, config=config)

    return run
