from pathlib import Path

import msgspec
import pytest
from layout import write_layout

from handdgcl.bench.bench import Bench
from handdgcl.config import Generate, Splits, from_dict, load_config, to_dict
from handdgcl.data.prepare import prepare_split
from handdgcl.hands import load_hands
from handdgcl.project import project_root
from handdgcl.train import train_row

# Small enough that a training run takes a second.
TINY = {
    "profile": "tiny",
    "data": {"image_size": 32, "workers": 0, "min_brightness": 0.0},
    "encoder": {"stem": 4, "widths": [4, 8], "depths": [1, 1]},
    "graph": {"nodes": [21, 63], "features": 8, "layers": 1, "features_k": 4, "hidden": 8},
    "disturb": {"unet_features": 4},
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
def train(tiny_config, tiny_store, tracking, tmp_path):
    """Train a row with seed 3."""

    def run(row="similarity", *, config=tiny_config, store=tiny_store, out="out"):
        folder = tmp_path / out
        return train_row(row, 3, config, store=store, out=folder, work=tmp_path / "work" / out, root=tracking)

    return run


@pytest.fixture
def bench(tiny_config, tiny_store, hands, tmp_path):
    """The benchmark on a tiny model, one round of each figure."""
    few = Generate(
        images=Splits(train=4, val=2, test=2),
        subjects=Splits(train=1, val=1, test=1),
        cameras=2,
        interacting=0.5,
        seed=0,
    )
    train = msgspec.structs.replace(tiny_config.train, precision="bf16-mixed")
    config = msgspec.structs.replace(tiny_config, train=train, generate=few)
    small = msgspec.structs.replace(config, profile="small")
    bench = Bench(config, small, Path(), hands, tmp_path, rounds=1, images=1600)
    bench.cores, bench.dataset = 1, tiny_store.parent / "interhand"
    bench.stores = (tiny_store / "train", tiny_store / "train")
    return bench
