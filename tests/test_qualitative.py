import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from run_folders import leave_run

from handdgcl.data.batch import RawBatch
from handdgcl.errors import InputError
from handdgcl.evaluate import Trained
from handdgcl.model.network import Output
from handdgcl.report.qualitative import PICTURE_PX, choose_samples, qualitative_figure, worst_samples
from handdgcl.report.runs import read_runs

SIZE = 32


@pytest.fixture
def runs(tmp_path):
    for row in ("baseline", "similarity"):
        leave_run(tmp_path, row, 3, images=20)
    return read_runs(tmp_path)


def test_samples_are_spread_over_the_baselines_error(runs):
    chosen = choose_samples(runs, seed=3, count=5)
    errors = runs[0].samples.groupby("index")["mpjpe_mm"].mean()
    ranks = errors.rank().loc[chosen["index"][:4]]
    assert list(ranks) == [3, 8, 13, 18]  # middles of four shares of twenty
    assert chosen["index"].iloc[-1] == 19 and "largest overlap: 0.95" in chosen["rule"].iloc[-1]
    assert np.allclose(chosen["baseline"], errors.loc[chosen["index"]])


def test_the_worst_samples_come_worst_first(runs):
    worst = worst_samples(runs, "similarity", seed=3, count=4)
    errors = next(run for run in runs if run.row == "similarity").samples.groupby("index")["mpjpe_mm"].mean()
    assert list(worst["similarity"]) == sorted(errors, reverse=True)[:4]
    assert list(errors.loc[worst["index"]]) == list(worst["similarity"])
    assert len(worst_samples(runs, "baseline", seed=3, count=99)) == 20


def test_a_seed_that_was_not_run_is_refused(runs):
    with pytest.raises(InputError, match="GCN baseline was not run with seed 0"):
        choose_samples(runs, seed=0)


class Seen(torch.nn.Module):
    """In place of a network: rest hands in the middle of the crop."""

    def __init__(self, hands):
        super().__init__()
        self.vertices = (hands.template - hands.joints(hands.template[None])[0, :, 9, None]) / 0.1

    def forward(self, image):
        count = len(image)
        camera = torch.tensor([8.0, SIZE / 2, SIZE / 2]).expand(count, 2, 3)
        scale = torch.full((count, 2), 0.1)
        return Output(
            self.vertices.expand(count, -1, -1, -1), scale, camera, torch.zeros(count, 3), image, image
        )


class OneImageStore:
    """In place of a store: rest hands 0.5 m before the camera, on blue."""

    def __init__(self, hands):
        self.vertices = hands.template + torch.tensor([0.0, 0, 0.5])

    def batch(self, indices):
        count = len(indices)
        image = torch.zeros(count, 3, SIZE, SIZE, dtype=torch.uint8)
        image[:, 2] = 255
        camera = torch.tensor([[60.0, 0, SIZE / 2], [0, 60, SIZE / 2], [0, 0, 1]]).expand(count, 3, 3)
        return RawBatch(image, self.vertices.expand(count, -1, -1, -1), camera, torch.as_tensor(indices))


def test_the_figure_shows_each_sample_in_seven_pictures(hands):
    samples = pd.DataFrame(
        {"index": [4, 2], "rule": ["easy", "hard"], "baseline": [9.0, 12.0], "similarity": [8.0, 11]}
    )
    model = Trained(Seen(hands), hands, msgspec.UNSET, {})
    figure = qualitative_figure(samples, OneImageStore(hands), model, model)
    assert len(figure.axes) == 14 and figure.axes[9].get_xlabel() == "12.0 mm"
    cells = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[:7]]
    assert {cell.shape for cell in cells} == {(PICTURE_PX, PICTURE_PX, 3)}
    blue = [(cell == [0, 0, 255]).all(-1).mean() for cell in cells]
    assert blue[0] == 1 and 0.3 < blue[4] < 1 and max(blue[1:4]) == 0  # input, overlay; others on white
    assert all(((cell != 255).any(-1)).any() for cell in cells[1:])  # and all show hands
    assert np.array_equal(cells[2], cells[3])
