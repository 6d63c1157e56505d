"""Augmentation: image, points and mesh move together; identities; determinism."""

import numpy as np
import pytest
import torch

from handdgcl.config import Augment
from handdgcl.data.augment import (
    DRAWS,
    Augmented,
    Draw,
    DrawnBatch,
    augment,
    by_grid,
    draw_maps,
    map_images,
)
from handdgcl.data.batch import RawBatch, finish
from handdgcl.data.camera import project
from handdgcl.hands.topology import LEFT, RIGHT, ROOT_JOINT

SIZE = 64
FLIP = torch.diag(torch.tensor([-1.0, 1.0]))
QUARTER = torch.tensor([[0.0, -1.0], [1.0, 0.0]])  # x to y: clockwise, as y points down


@pytest.fixture(scope="module")
def raw(hands):
    random = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(4, 2, *shape, generator=random)
    with torch.no_grad():
        vertices = hands(draw(48) * 0.3, draw(10), draw(3) * 0.03)
    vertices[..., 2] += 1
    intrinsics = torch.tensor([[200.0, 0, 29], [0, 210, 35], [0, 0, 1]]).repeat(4, 1, 1)
    image = torch.randint(0, 256, (4, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
    return RawBatch(image, vertices, intrinsics, torch.arange(4))


def on_axis(raw, hands):
    """The same batch with each pair's centre on the optical axis, which meets the crop's centre."""
    centre = hands.joints(raw.vertices)[:, :, ROOT_JOINT].mean(1)
    centre[:, 2] = 0
    intrinsics = torch.tensor([[200.0, 0, SIZE / 2], [0, 200, SIZE / 2], [0, 0, 1]]).repeat(4, 1, 1)
    return RawBatch(raw.image, raw.vertices - centre[:, None, None], intrinsics, raw.index)


def apply(raw, hands, rotation, scale=1.0):
    count = len(raw.image)
    return augment(
        DrawnBatch(
            **vars(raw), rotation=rotation.expand(count, 2, 2), scale=torch.full((count,), float(scale))
        ),
        hands,
    )


class Held:
    """A store that holds one batch."""

    def __init__(self, raw):
        self.raw = raw

    def batch(self, index):
        return RawBatch(**{name: value[index] for name, value in vars(self.raw).items()})


def augmented(raw, hands, settings, seed=0):
    index = list(range(len(raw.image)))
    numbers = np.random.default_rng(seed).random((len(index), DRAWS), np.float32)
    return augment(Augmented(Held(raw), settings).__getitems__(Draw(index, numbers)), hands)


def test_zero_strengths_change_nothing(raw, hands):
    settings = Augment(rotation_deg=0, scale=0, flip=0)
    found, expected = augmented(raw, hands, settings), finish(raw, hands)
    for name in ("vertices", "joints", "joints_2d", "index"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-5)
    assert torch.equal(found.image, expected.image)


def test_flip_mirrors_and_swaps(raw, hands):
    found, plain = apply(raw, hands, FLIP), finish(raw, hands)
    assert torch.equal(found.image, plain.image.flip(-1))
    mirror = torch.tensor([-1.0, 1, 1])
    for one, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
        torch.testing.assert_close(found.vertices[:, one], plain.vertices[:, other] * mirror)
        torch.testing.assert_close(found.joints_2d[:, one, :, 0], SIZE - plain.joints_2d[:, other, :, 0])
        torch.testing.assert_close(found.joints_2d[:, one, :, 1], plain.joints_2d[:, other, :, 1])
    torch.testing.assert_close(found.joints, hands.joints(found.vertices))
    intrinsics = raw.intrinsics.clone()
    intrinsics[:, 0, 2] = SIZE - intrinsics[:, 0, 2]  # the mirrored camera sees the mirrored hands there
    torch.testing.assert_close(found.joints_2d, project(found.joints, intrinsics[:, None]), atol=1e-3, rtol=0)


def test_flip_twice_is_the_identity(raw, hands):
    once = apply(raw, hands, FLIP)
    intrinsics = raw.intrinsics.clone()
    intrinsics[:, 0, 2] = SIZE - intrinsics[:, 0, 2]
    twice, plain = (
        apply(RawBatch(once.image, once.vertices, intrinsics, raw.index), hands, FLIP),
        finish(raw, hands),
    )
    for name in ("vertices", "joints", "joints_2d"):
        torch.testing.assert_close(getattr(twice, name), getattr(plain, name), atol=1e-4, rtol=1e-5)
    assert torch.equal(twice.image, plain.image)


def test_quarter_turn_is_rot90(raw, hands):
    found, plain = apply(raw, hands, QUARTER), finish(raw, hands)
    assert torch.equal(found.image, torch.rot90(plain.image, -1, (2, 3)))
    x, y = plain.joints_2d.unbind(-1)
    torch.testing.assert_close(found.joints_2d, torch.stack([SIZE - y, x], -1), atol=1e-3, rtol=0)
    relative = lambda batch: batch.vertices - batch.joints[:, :, ROOT_JOINT].mean(1)[:, None, None]
    x, y, z = relative(plain).unbind(-1)
    torch.testing.assert_close(relative(found), torch.stack([-y, x, z], -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.vertices[..., 2], plain.vertices[..., 2])


@pytest.mark.parametrize("angle", [-71.0, 33.0])
def test_points_are_the_projection_where_nothing_is_approximated(raw, hands, angle):
    raw = on_axis(raw, hands)
    angle = np.deg2rad(angle)
    turn = torch.tensor(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32
    )
    for rotation in (turn, FLIP @ turn):
        found = apply(raw, hands, rotation)
        expected = project(found.joints, raw.intrinsics[:, None])
        torch.testing.assert_close(found.joints_2d, expected, atol=1e-3, rtol=0)


def test_image_and_points_scale_together(raw, hands):
    plain = finish(raw, hands)
    u, v = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
    spot = plain.joints_2d[0, RIGHT, 0].floor()  # a dot on a joint
    image = raw.image.clone()
    image[0] = 255 * ((u - spot[0]).abs().le(2) & (v - spot[1]).abs().le(2)).to(torch.uint8)
    rotation = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    found = apply(RawBatch(image, raw.vertices, raw.intrinsics, raw.index), hands, rotation, 1.1)
    weight = found.image[0, 0] / found.image[0, 0].sum()
    dot = torch.stack([(weight * (u + 0.5)).sum(), (weight * (v + 0.5)).sum()])
    moved = (spot + 0.5 - SIZE / 2) @ rotation.T * 1.1 + SIZE / 2
    torch.testing.assert_close(dot, moved, atol=0.1, rtol=0)
    torch.testing.assert_close(found.joints_2d[0, RIGHT, 0], dot, atol=1.2, rtol=0)
    spread = lambda batch: batch.vertices - batch.vertices.mean((1, 2), keepdim=True)
    torch.testing.assert_close(spread(found).norm(dim=-1), spread(plain).norm(dim=-1))  # metric size stays


def test_outside_is_black(raw, hands):
    raw = RawBatch(torch.full_like(raw.image, 255), raw.vertices, raw.intrinsics, raw.index)
    half = 0.5**0.5
    image = apply(raw, hands, torch.tensor([[half, -half], [half, half]])).image
    corners = image[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    assert (image[..., SIZE // 2, SIZE // 2] == 255).all()


def test_opencv_and_the_grid_differ_by_rounding_alone(raw):
    numbers = np.random.default_rng(0).random((4, DRAWS), np.float32)
    settings = Augment(rotation_deg=90, scale=0.3, flip=0.5)
    rotation, scale = map(torch.from_numpy, draw_maps(numbers, settings))
    assert (torch.linalg.det(rotation) < 0).unique().numel() == 2  # both with a mirror image and without
    grid = by_grid(raw.image, rotation.mT / scale[:, None, None])
    for image in (raw.image, raw.image.contiguous(memory_format=torch.channels_last)):
        found = map_images(image, rotation, scale)
        assert found.dtype == grid.dtype == torch.uint8
        assert (found.int() - grid.int()).abs().max() <= 1
        assert (found != grid).float().mean() < 0.01


def test_draws_cover_the_ranges_and_nothing_else_is_random(raw, hands):
    settings = Augment(rotation_deg=90, scale=0.1, flip=0.25)
    numbers = np.random.default_rng(0).random((4000, DRAWS), np.float32)
    rotation, scale = map(torch.from_numpy, draw_maps(numbers, settings))
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(2).expand(4000, 2, 2))
    flipped = torch.linalg.det(rotation) < 0
    angle = torch.rad2deg(torch.atan2(rotation[:, 1, 0], rotation[:, 1, 1]))
    for values, low, high in ((angle, -90, 90), (scale, 0.9, 1.1)):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high >= values.max() > high - 0.05 * (high - low)
    assert abs(flipped.float().mean() - 0.25) < 0.03
    one, same = (augmented(raw, hands, settings, seed=3) for _ in range(2))
    other = augmented(raw, hands, settings, seed=4)
    assert torch.equal(one.image, same.image) and not torch.equal(one.image, other.image)
