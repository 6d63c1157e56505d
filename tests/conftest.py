import gc
import shutil

import numpy as np
import pytest
import torch
from layout import write_layout
from projects import tiny_project
from scored import K, N

from handdgcl.config import from_dict, load_config, to_dict
from handdgcl.data.prepare import prepare_split
from handdgcl.hands import load_hands
from handdgcl.hands.topology import LEFT
from handdgcl.project import project_root
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


def pytest_collection_finish():
    """What has been imported stays: statsmodels collects garbage in each of its corrections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def hands():
    return load_hands()


def tiny():
    """The default profile with everything made small."""
    raw = to_dict(load_config(project_root(__file__) / "params.yaml"))
    for section, values in TINY.items():
        raw[section] = raw[section] | values if isinstance(values, dict) else values
    return from_dict(raw)


@pytest.fixture(scope="session")
def tiny_config():
    return tiny()


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
    return tiny_project(tmp_path, tiny_config, tiny_store, tracking, monkeypatch)


@pytest.fixture
def train_anew(project):
    """Train a row with seed 3, in scratch where the parameters are others."""

    def run(row="similarity", *, config=None):
        return train_row(row, 3, project, config=config)

    return run


@pytest.fixture(scope="session")
def trained_rows(tmp_path_factory):
    """The outputs of rows that a test has asked for already."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def train(project, train_anew, trained_rows):
    """The checkpoint of a row with seed 3, trained by the first test that asks for it and copied after."""

    def run(row="similarity"):
        out, kept = project.row(row, 3), trained_rows / row
        if kept.exists() and not out.exists():
            shutil.copytree(kept, out)
        checkpoint = train_anew(row)
        if not kept.exists():
            shutil.copytree(out, kept)
        return checkpoint

    return run


@pytest.fixture
def folder(tmp_path):
    """Ten samples of a training split in InterHand2.6M's layout."""
    return write_layout(tmp_path / "interhand", frames=5, splits=("train",))


@pytest.fixture(scope="session")
def truth(hands):
    """Posed pairs about 0.8 m before a camera, nearer to each other one by one."""
    random = torch.Generator().manual_seed(4)
    pose = 0.2 * torch.randn(N, 2, 48, generator=random)
    vertices = hands(pose, torch.zeros(N, 2, 10), torch.zeros(N, 2, 3)).double().numpy()
    vertices -= vertices.mean(2, keepdims=True)
    vertices[:, 0] *= [-1, 1, -1]  # turned by half a turn: its silhouette is nearly the other's
    vertices[:, 0, :, 1] += np.array([0.2, 0.12, 0.09, 0.03, 0.01, 0])[:, None]
    vertices[..., 2] += 0.8
    return {"left": vertices[:, 0], "right": vertices[:, 1], "intrinsics": K}


@pytest.fixture(scope="session")
def prediction(truth, hands):
    """Each hand turned, scaled, moved and dented."""
    random = np.random.default_rng(5)
    return {
        h: 1.05 * truth[h] + random.normal(0, 0.003, (N, 778, 3)) + [0.01, 0, 0.02] for h in ("left", "right")
    }


@pytest.fixture(scope="session")
def pairs(hands):
    """Pairs of posed hands `[B, H, V, 3]` m, from apart to deep in each other; the second one touches."""
    random = torch.Generator().manual_seed(1)
    pose = 0.2 * torch.randn(6, 2, 48, generator=random)
    vertices = hands(pose, torch.zeros(6, 2, 10), torch.zeros(6, 2, 3)).double()
    centred = vertices - vertices.mean(2, keepdim=True)
    apart = torch.tensor([0.5, 0.03, 0.025, 0.02, 0.01, 0.0])[:, None]
    centred[:, LEFT, :, 1] += apart
    return centred.numpy()
