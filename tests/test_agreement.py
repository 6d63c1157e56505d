"""`handdgcl score` refuses hands of other pairs, of a flipped or another image; bad methods are measured."""

import numpy as np
import pytest
import torch
from scored import K, joints_alone, measured, regressed

from handdgcl.files import InputError

COUNT = 24
SIDES = ("left", "right")
FIRST = [3, 2, 1, COUNT]  # pairs


@pytest.fixture(scope="module")
def moving(hands):
    """Pairs of posed hands that move about the image, all turned differently."""
    random = torch.Generator().manual_seed(4)
    pose = 0.2 * torch.randn(COUNT, 2, 48, generator=random)
    pose[..., :3] *= 3
    vertices = hands(pose, torch.zeros(COUNT, 2, 10), torch.zeros(COUNT, 2, 3)).double().numpy()
    vertices += np.random.default_rng(4).normal(0, 0.04, (COUNT, 2, 1, 3)) - vertices.mean(2, keepdims=True)
    vertices[:, 0, :, 0] += 0.1
    vertices[..., 2] += 0.8
    return {"left": vertices[:, 0], "right": vertices[:, 1], "intrinsics": K}


@pytest.fixture(scope="module")
def good(moving):
    random = np.random.default_rng(5)
    return {h: moving[h] + random.normal(0, 0.002, moving[h].shape) for h in SIDES}


def pixels(arrays):
    seen = {h: arrays[h] @ K.T for h in SIDES}
    return {f"{h}_px": x[..., :2] / x[..., 2:] for h, x in seen.items()}


def each(change):
    return lambda px: {name: change(x) for name, x in px.items()}


ORDER = np.random.default_rng(1).permutation(778)
PIXELS = {
    "hands exchanged": lambda px: dict(zip(px, reversed(px.values()), strict=True)),
    "row before column": each(lambda x: x[..., ::-1]),
    "vertices in another order": each(lambda x: x[:, ORDER]),
    "y up": each(lambda x: x * [1, -1] + [0, 512]),
    "an image of another size": each(lambda x: x * 224 / 512),
    "a crop": each(lambda x: x - [250, 150]),
}


@pytest.mark.parametrize("kind", list(PIXELS))
def test_pixels_that_mean_something_else_are_refused(moving, good, hands, kind):
    px = pixels(good)
    assert measured(good | px, moving, hands, interaction=False)["metrics"]["pixel_px"] < 5
    with pytest.raises(InputError, match="left_px, right_px"):
        measured(good | PIXELS[kind](px), moving, hands, interaction=False)


def test_hands_before_another_camera_are_refused(moving, good, hands):
    far = {h: good[h] + [0, 0, 20] for h in SIDES}
    for made in (far, joints_alone(far, hands)):
        with pytest.raises(InputError, match="intrinsics"):
            measured(made, moving, hands, interaction=False)
        measured(made, {h: moving[h] for h in SIDES}, hands, interaction=False)


def test_hands_of_a_flipped_image_are_refused(moving, good, hands):
    flipped = {h: good[other] * [-1, 1, 1] for h, other in zip(SIDES, SIDES[::-1], strict=True)}
    for made in (flipped, joints_alone(flipped, hands)):
        for count in FIRST:
            few = [{h: x[:count] for h, x in file.items() if h != "intrinsics"} for file in (made, moving)]
            with pytest.raises(InputError, match="left"):
                measured(*few, hands, interaction=False)


@pytest.mark.parametrize("order", [np.roll(np.arange(COUNT), 1), sorted(range(COUNT), key=str)])
def test_pairs_in_another_order_need_names(moving, good, hands, order):
    turned, names = {h: good[h][order] for h in SIDES}, np.arange(COUNT)
    for more in ({}, {"image_id": names}):
        with pytest.raises(InputError, match="image_id"):
            measured(turned, moving | more, hands, interaction=False)
    named = {"image_id": names[order]}, {"image_id": names}
    found = measured(turned | named[0], moving | named[1], hands, interaction=False)
    assert found["metrics"]["mpjpe_mm"] < 5


CENTRES = {
    "an index finger": lambda x, joints: joints[:, [5]],
    "the mean joint": lambda x, joints: joints.mean(1, keepdims=True),
    "the mean vertex": lambda x, joints: x.mean(1, keepdims=True),
    "the box": lambda x, joints: (x.max(1, keepdims=True) + x.min(1, keepdims=True)) / 2,
}


@pytest.mark.parametrize("centre", list(CENTRES))
def test_hands_each_centred_on_itself_are_noted(moving, good, hands, centre):
    said = lambda made: " ".join(measured(made, moving, hands, interaction=False)["notes"])
    joints = regressed(good, hands)
    own = {h: good[h] - CENTRES[centre](good[h], joints[h]) for h in SIDES}
    assert "centred on itself" in said(own) and "centred on itself" not in said(good)
    if centre != "the mean vertex":
        alone = {f"joints_{h}": x - CENTRES[centre](x, x) for h, x in joints.items()}
        assert "centred on itself" in said(alone)


def blind(arrays, random, count):
    """The mean hand, wherever the hands are."""
    return {h: np.tile(arrays[h].mean(0), (count, 1, 1)) for h in SIDES}


def moved(arrays, random, count):
    return {h: arrays[h][:count] + random.normal(0, 0.06, (count, 1, 3)) for h in SIDES}


def shifted(arrays, random, count):
    """Both hands together, and the same way in every pair."""
    return {h: arrays[h][:count] + np.array([0.04, 0.04, 0.02]) for h in SIDES}


def other(arrays, random, count):
    """Good hands, of none of these images."""
    return {h: arrays[h][::-1][:count] for h in SIDES}


@pytest.mark.parametrize("method", [blind, moved, shifted, other])
@pytest.mark.parametrize("count", FIRST[:-1])
def test_few_pairs_of_a_bad_method_are_measured(moving, good, hands, method, count):
    some = {h: x if x.ndim == 2 else x[:count] for h, x in moving.items()}
    made = method(good, np.random.default_rng(count), count)
    assert measured(made, some, hands, interaction=False)["metrics"]["pixel_px"] > 5
    assert measured(made | pixels(made), some, hands, interaction=False)["metrics"]["pixel_px"] > 5


@pytest.mark.parametrize("method", [blind, moved, shifted])
def test_many_pairs_of_a_bad_method_are_measured(moving, good, hands, method):
    made = method(good, np.random.default_rng(0), COUNT)
    found = measured(made, moving, hands, interaction=False)
    assert found["metrics"]["pixel_px"] > 5
    random = np.random.default_rng(1)
    px = {name: x + random.normal(0, 30, (COUNT, 1, 2)) for name, x in pixels(made).items()}
    assert measured(made | px, moving, hands, interaction=False)["metrics"]["pixel_px"] > 20
