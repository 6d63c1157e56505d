import pickle
import shutil

import pandas as pd
import pytest
import torch
from msgspec.structs import replace

from handdgcl.files import InputError
from handdgcl.project import Project
from handdgcl.train.checkpoint import read_checkpoint
from handdgcl.train.module import TrainingModule
from handdgcl.train.run import train_row
from handdgcl.train.states import only_trainer

EPOCHS = 4


@pytest.fixture
def long_config(tiny_config):
    """Enough epochs at a rate that is too high, so that the last is not the best."""
    return replace(tiny_config, train=replace(tiny_config.train, epochs=EPOCHS, lr=0.05))


@pytest.fixture
def interrupted(project, long_config, monkeypatch):
    """Train until an epoch has begun; the folder of the states."""

    def run(epoch=3):
        step = TrainingModule.training_step

        def stop(self, raw, batch_idx):
            if self.current_epoch == epoch:
                raise OSError("No space left on device")
            return step(self, raw, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", stop)
            with pytest.raises(InputError, match="the same command continues"):
                train_row("baseline", 3, Project(long_config))
        return next(project.runs.glob("work/*/states"))

    return run


@pytest.fixture
def whole(project, long_config, tmp_path):
    """The uninterrupted run's weights, its epoch and curves; the run itself is gone again."""
    path = train_row("baseline", 3, Project(long_config))
    content, curves = read_checkpoint(path), pd.read_csv(path.with_name("curves.csv"))
    shutil.rmtree(path.parent)
    return content, curves


def same(path, whole):
    content, curves = read_checkpoint(path), pd.read_csv(path.with_name("curves.csv"))
    assert content[0]["epoch"] == whole[0][0]["epoch"] and curves.equals(whole[1])
    assert all(torch.equal(value, whole[0][1][key]) for key, value in content[1].items())
    return True


def test_the_exported_epoch_is_the_best_one(whole):
    (content, _), curves = whole
    best = curves.loc[curves["val_mpjpe_mm"].idxmin()]
    assert content["epoch"] == best["epoch"]
    assert content["val_mpjpe_mm"] == pytest.approx(best["val_mpjpe_mm"], abs=1e-3)


def test_a_project_moved_while_interrupted_exports_the_same_epoch(
    whole, interrupted, long_config, tmp_path, tmp_path_factory, monkeypatch
):
    interrupted()
    moved = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.move(tmp_path, moved)
    monkeypatch.chdir(moved)
    assert same(train_row("baseline", 3, Project(long_config)), whole)


class Planted:
    def __reduce__(self):
        return open, ("planted", "w")


def cut(file):
    file.write_bytes(file.read_bytes()[:1000])


def plant(file):
    file.write_bytes(pickle.dumps(Planted(), protocol=2))


def exchange(file):
    state = torch.load(file, weights_only=True)
    torch.save(state | {"identity": "of other parameters"}, file)


@pytest.mark.parametrize("damage", [cut, plant, exchange])
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_state_that_cannot_be_used_starts_the_row_anew_and_says_so(
    whole, interrupted, long_config, caplog, tmp_path, damage, name
):
    damage(interrupted() / name)
    assert same(train_row("baseline", 3, Project(long_config)), whole)
    assert "starts anew" in caplog.text and not (tmp_path / "planted").exists()


def test_one_process_at_a_time_trains_a_row(tmp_path):
    again = only_trainer(tmp_path / "work")
    with only_trainer(tmp_path / "work"), pytest.raises(InputError, match="another process"), again:
        pytest.fail("trained")
    with only_trainer(tmp_path / "work"):
        pass
