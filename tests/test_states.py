import pickle
import shutil
from pathlib import Path

import pytest
import torch
from projects import change, curves, enter, tiny_project

from handdgcl.files import InputError, holding
from handdgcl.project import Project
from handdgcl.train.checkpoint import read_checkpoint
from handdgcl.train.module import TrainingModule
from handdgcl.train.run import train_row

LAST = 3  # index of the last epoch


@pytest.fixture(scope="module")
def long_config(tiny_config):
    """Enough epochs at a rate that is too high, so that the last is not the best."""
    return change(tiny_config, "train", epochs=LAST + 1, lr=0.05)


def outputs(path):
    """A checkpoint's info and weights, and the curves."""
    return *read_checkpoint(path), curves(path)


@pytest.fixture(scope="module")
def whole(long_config, tiny_store, tracking, tmp_path_factory):
    """The uninterrupted run's outputs."""
    with pytest.MonkeyPatch.context() as patch:
        project = tiny_project(tmp_path_factory.mktemp("whole"), long_config, tiny_store, tracking, patch)
        return outputs(train_row("baseline", 3, project))


@pytest.fixture(scope="module")
def interrupted(long_config, tiny_store, tracking, tmp_path_factory):
    """A project whose training stopped in the last epoch; it has been moved since."""
    step, folder = TrainingModule.training_step, tmp_path_factory.mktemp("interrupted")

    def stop(self, raw, batch_idx):
        if self.current_epoch == LAST:
            raise OSError("No space left on device")
        return step(self, raw, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        project = tiny_project(folder, long_config, tiny_store, tracking, patch)
        patch.setattr(TrainingModule, "training_step", stop)
        with pytest.raises(InputError, match="No space left"):
            train_row("baseline", 3, project)
    return folder.rename(folder.with_name("moved"))


@pytest.fixture
def states(interrupted, long_config, tracking, tmp_path, monkeypatch):
    """The states in a copy of the interrupted project, which is the working folder."""
    enter(shutil.copytree(interrupted, tmp_path / "copy", symlinks=True), tracking, monkeypatch)
    return next(Project(long_config).runs.glob("work/*/states"))


def same(path, whole):
    (info, weights, table), (wanted_info, wanted, wanted_table) = outputs(path), whole
    assert info["epoch"] == wanted_info["epoch"] and table.equals(wanted_table)
    assert all(torch.equal(value, wanted[key]) for key, value in weights.items())
    return True


def test_a_project_moved_while_interrupted_goes_on_to_the_same_epoch(whole, states, long_config, monkeypatch):
    step, begun = TrainingModule.training_step, set()

    def watched(self, raw, batch_idx):
        begun.add(self.current_epoch)
        return step(self, raw, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    assert same(train_row("baseline", 3, Project(long_config)), whole)
    assert begun == {LAST}


class Planted:
    def __reduce__(self):
        return open, ("planted", "w")


def cut(file):
    file.write_bytes(file.read_bytes()[:1000])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def plant(file):
    file.write_bytes(pickle.dumps(Planted(), protocol=2))


def exchange(file):
    state = torch.load(file, weights_only=True)
    torch.save(state | {"identity": "of other parameters"}, file)


@pytest.mark.parametrize("damage", [cut, flip, plant, exchange])
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_state_that_cannot_be_used_starts_the_row_anew_and_says_so(
    whole, states, long_config, caplog, damage, name
):
    damage(states / name)
    assert same(train_row("baseline", 3, Project(long_config)), whole)
    assert "starts anew" in caplog.text and not Path("planted").exists()


def test_one_process_at_a_time_trains_a_row(tmp_path):
    again = holding(tmp_path / "work", "trains")
    with holding(tmp_path / "work", "trains"), pytest.raises(InputError, match="another process"), again:
        pytest.fail("trained")
    with holding(tmp_path / "work", "trains"):
        pass
