"""The crop: ramps stay ramps, fine patterns average; rasterised masks as the overlap's oracle."""

import numpy as np
import pytest
import torch

from handdgcl.data.crop import hand_overlap, warp_crop
from handdgcl.hands.camera import square_crop
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import LEFT, RIGHT


@pytest.mark.parametrize("scale", [0.13, 0.4, 0.77, 1.0, 1.9])
def test_a_ramp_is_sampled_where_the_crop_looks(scale):
    x, y = np.meshgrid(np.arange(300) + 0.5, np.arange(200) + 0.5)
    slope = 8 * scale  # 8 levels per pixel of the crop
    ramps = [128 + slope * (x - 151.3), 128 - slope * (y - 98.6), x * 0 + 7]
    image = np.stack(ramps, -1).clip(0, 255).round().astype(np.uint8)
    size = 24
    crop = np.array([[scale, 0, size / 2 - scale * 151.3], [0, scale, size / 2 - scale * 98.6]])
    u, v = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    expected = np.stack([128 + 8 * (u - size / 2), 128 - 8 * (v - size / 2), u * 0 + 7], -1)
    error = warp_crop(image, crop, size=size) - expected
    assert np.abs(error).max() < 1.6 and np.abs(error.mean((0, 1))).max() < 0.6


def test_fine_patterns_average_out():
    image = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)
    image = np.repeat(image[..., None], 3, -1).astype(np.uint8)
    small = warp_crop(image, square_crop(np.array([[20.0, 20], [236, 236]]), fill=0.9, size=40), size=40)
    assert np.abs(small[2:-2, 2:-2].astype(float) - 127.5).max() < 12  # picking pixels would give 0 and 255


def test_outside_is_black():
    image = np.full((50, 60, 3), 200, np.uint8)
    crop = np.array([[1.0, 0, 30], [0, 1.0, 0]])  # the image begins at column 30
    cut = warp_crop(image, crop, size=64)
    assert (cut[:, :29] == 0).all() and (cut[:49, 31:] == 200).all() and (cut[51:] == 0).all()
    assert (warp_crop(image, np.array([[1.0, 0, 500], [0, 1, 0]]), size=64) == 0).all()


def random_points(hands, count, distance):
    """Hands that fill 0.8 of a crop of 256 px."""
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(count, 2, *shape, generator=random)
    points = hands(draw(48) * 0.3, draw(10), draw(3) * distance)[..., :2]
    low, high = points.amin((1, 2), keepdim=True), points.amax((1, 2), keepdim=True)
    return (points - (low + high) / 2) * (0.8 * 256 / (high - low).amax(-1, keepdim=True)) + 128


def test_close_to_rasterised_masks(hands):
    points = random_points(hands, 12, 0.03)
    draw = lambda hand: rasterize(
        points[:, hand], torch.ones(12, 778), hands.faces[hand], height=256, width=256
    )
    left, right = (draw(hand).face >= 0 for hand in (LEFT, RIGHT))
    mask_overlap = (left & right).sum((1, 2)) / torch.minimum(left.sum((1, 2)), right.sum((1, 2)))
    error = np.abs(hand_overlap(points.numpy(), hands.faces.numpy(), size=256) - mask_overlap.numpy())
    assert mask_overlap.max() > 0.5 and mask_overlap.min() < 0.1
    assert error.mean() < 0.025 and error.max() < 0.1


def test_apart_together_and_alone(hands):
    points = random_points(hands, 3, 0.0).numpy()
    apart = points.copy()
    apart[:, LEFT] = apart[:, LEFT] * 0.4 + 140
    apart[:, RIGHT] = apart[:, RIGHT] * 0.4
    faces = hands.faces.numpy()
    assert (hand_overlap(apart, faces, size=256) == 0).all()
    same = np.repeat(points[:, :1], 2, 1)
    np.testing.assert_allclose(hand_overlap(same, faces[[0, 0]], size=256), 1)
    inside = same.copy()
    inside[:, RIGHT] = 100 + 0.01 * inside[:, RIGHT]  # a point of a hand within the other, or beside it
    assert set(hand_overlap(inside, faces, size=256)) <= {0.0, 1.0}
    assert hand_overlap(points[:0], faces, size=256).shape == (0,)
