import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from rest_hands import RestHands
from run_folders import write_run

from handdgcl.data.batch import RawBatch
from handdgcl.data.store import Store
from handdgcl.evaluate import Trained
from handdgcl.files import InputError
from handdgcl.report.pictures import (
    HAND_COLOURS,
    PICTURE_PX,
    choose_samples,
    draw_hands,
    draw_predictions,
    draw_samples,
    draw_skeletons,
    from_the_side,
    qualitative_figure,
    worst_samples,
)
from handdgcl.report.results import read_results

SIZE = 64
GREY = 100


@pytest.fixture
def picture():
    return np.full((SIZE, SIZE, 3), GREY, np.uint8)


def squares(depths, shift=(0.0, 0.0)):
    """A 32 px square for each hand around the middle, at some depths: points_2d, vertices, faces."""
    corners = torch.tensor([[16.0, 16], [48, 16], [48, 48], [16, 48]])
    points = torch.stack([corners, corners]) + torch.tensor(shift)
    z = torch.tensor(depths)[:, None, None].expand(2, 4, 1)
    faces = torch.tensor([[0, 2, 1], [0, 3, 2]]).expand(2, 2, 3)
    return points, torch.cat([points / 100, z], -1), faces


def test_the_nearer_hand_hides_the_other_and_nothing_else_changes(picture):
    hue = lambda pixel: np.asarray(pixel, float) / max(pixel)
    for depths, near in (((0.0, 0.3), "left"), ((0.3, 0.0), "right")):
        drawn = draw_hands(picture, *squares(depths))
        assert np.allclose(hue(drawn[32, 32]), hue(HAND_COLOURS[near]), atol=0.02)
        changed = (drawn != GREY).any(-1)
        assert changed[16:48, 16:48].all() and changed.sum() == 32 * 32
    assert (picture == GREY).all()


def test_opacity_mixes_and_hands_outside_leave_the_picture(picture):
    solid, half = (draw_hands(picture, *squares((0.0, 1.0)), opacity=o)[32, 32].astype(int) for o in (1, 0.5))
    assert np.allclose(half, (solid + GREY) / 2, atol=1)
    assert (draw_hands(picture, *squares((0.0, 1.0), shift=(500.0, 0.0))) == GREY).all()
    cut = draw_hands(picture, *squares((0.0, 1.0), shift=(-30.0, 0.0)))
    assert (cut[32, :18] != GREY).any(-1).all() and (cut[32, 19:] == GREY).all()


def test_skeletons_stand_on_their_joints(picture):
    joints = torch.full((2, 21, 2), 10.5)
    joints[1] = 50.5
    drawn = draw_skeletons(picture, joints)
    assert tuple(drawn[10, 10]) == HAND_COLOURS["left"] and tuple(drawn[50, 50]) == HAND_COLOURS["right"]
    assert (drawn[30, 30] == GREY).all() and (picture == GREY).all()


def test_from_the_side_is_a_turn_about_the_vertical_axis():
    vertices = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
    turned = from_the_side(vertices)
    assert torch.allclose(torch.pdist(turned.flatten(0, 1)), torch.pdist(vertices.flatten(0, 1)), atol=1e-5)
    middle = (vertices.flatten(0, 1).amax(0) + vertices.flatten(0, 1).amin(0)) / 2
    assert torch.allclose(turned[..., 1], vertices[..., 1] - middle[1])
    assert torch.allclose(turned[..., 0], vertices[..., 2] - middle[2])  # what was far is to the right
    turn = torch.linalg.lstsq((vertices - middle).flatten(0, 1), turned.flatten(0, 1))[0]
    assert torch.linalg.det(turn) > 0.9  # not mirrored


@pytest.fixture
def samples(tmp_path):
    for row in ("baseline", "similarity"):
        write_run(tmp_path, row, 3, images=20)
    return read_results(tmp_path).samples


def test_samples_are_chosen_over_the_first_rows_error(samples):
    chosen = choose_samples(samples, seed=3, count=5)
    errors = samples[samples["row"] == "baseline"].groupby("index")["mpjpe_mm"].mean()
    ranks = errors.rank().loc[chosen["index"][:4]]
    assert list(ranks) == [3, 8, 13, 18]  # middles of four shares of twenty
    assert chosen["index"].iloc[-1] == 19 and "0.95" in chosen["rule"].iloc[-1]  # the largest overlap
    assert np.allclose(chosen["baseline"], errors.loc[chosen["index"]])


def test_the_worst_samples_come_worst_first(samples):
    worst = worst_samples(samples, row="similarity", seed=3, count=4)
    errors = samples[samples["row"] == "similarity"].groupby("index")["mpjpe_mm"].mean()
    assert list(worst["similarity"]) == sorted(errors, reverse=True)[:4]
    assert list(errors.loc[worst["index"]]) == list(worst["similarity"])
    assert len(worst_samples(samples, row="baseline", seed=3, count=99)) == 20


@pytest.mark.parametrize(("rows", "seed"), [(("baseline",), 0), (("baseline", "mask"), 3)])
def test_runs_that_are_not_there_are_refused(samples, rows, seed):
    with pytest.raises(InputError, match=f"was not run with seed {seed}"):
        choose_samples(samples, rows, seed=seed)


class OneImageStore:
    """In place of a store: rest hands 0.5 m before the camera, on blue."""

    def __init__(self, hands):
        self.vertices = hands.template + torch.tensor([0.0, 0, 0.5])

    def batch(self, indices):
        count = len(indices)
        image = torch.zeros(count, 3, 32, 32, dtype=torch.uint8)
        image[:, 2] = 255
        camera = torch.tensor([[60.0, 0, 16], [0, 60, 16], [0, 0, 1]]).expand(count, 3, 3)
        return RawBatch(image, self.vertices.expand(count, -1, -1, -1), camera, torch.as_tensor(indices))


@pytest.mark.parametrize("rows", [("baseline", "similarity"), ("baseline", "mask", "dgclnet")])
def test_the_figure_shows_each_sample_and_row(hands, rows):
    samples = pd.DataFrame({"index": [4, 2], "rule": ["easy", "hard"]} | {row: [9.0, 12.0] for row in rows})
    models = {row: Trained(RestHands(hands), hands, msgspec.UNSET, {}, None) for row in rows}
    figure = qualitative_figure(samples, OneImageStore(hands), models)
    columns = len(rows) + 5
    assert len(figure.axes) == 2 * columns and figure.axes[columns + 2].get_xlabel() == "12.0 mm"
    cells = [np.asarray(axis.images[0].get_array()) for axis in figure.axes[:columns]]
    assert {cell.shape for cell in cells} == {(PICTURE_PX, PICTURE_PX, 3)}
    blue = [(cell == [0, 0, 255]).all(-1).mean() for cell in cells]
    overlay = blue.pop(len(rows) + 2)
    assert blue[0] == 1 and 0.3 < overlay < 1 and max(blue[1:]) == 0  # input, overlay; others on white
    assert all((cell != 255).any() for cell in cells[1:])  # and all show hands
    assert np.array_equal(cells[2], cells[1 + len(rows)])


def test_samples_and_predictions_are_drawn_on_the_picture(tiny_store, hands):
    raw = Store(tiny_store / "test").batch([0, 1])
    trained = Trained(RestHands(hands), hands, msgspec.UNSET, {}, None)
    for figure in (draw_samples(raw, hands), draw_predictions(trained, raw)):
        image, first, second = (figure.axes[2 * row].images[0].get_array() for row in range(3))
        assert image.shape == first.shape == second.shape
        assert (first != image).any() and (second != image).any() and (first != second).any()
