"""Augmentation: image, points and mesh move together; identities; no copy from or to the device."""

import copy

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from handdgcl.config import Augment
from handdgcl.data.batch import (
    DRAWS,
    DrawnBatch,
    RawBatch,
    augment,
    by_grid,
    draw_maps,
    map_images,
    with_joints,
)
from handdgcl.hands.camera import project
from handdgcl.hands.topology import RIGHT, ROOT_JOINT

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
    scales = torch.full((count,), float(scale))
    return augment(DrawnBatch(**vars(raw), rotation=rotation.expand(count, 2, 2), scale=scales), hands)


def drawn(raw, settings, seed=0):
    numbers = np.random.default_rng(seed).random((len(raw.image), DRAWS), np.float32)
    rotation, scale = map(torch.from_numpy, draw_maps(numbers, settings))
    return DrawnBatch(**vars(raw), rotation=rotation, scale=scale)


def same(found, expected):
    for name in ("vertices", "joints", "joints_2d"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-5)
    assert torch.equal(found.image, expected.image) and torch.equal(found.index, expected.index)


def test_zero_strengths_change_nothing(raw, hands):
    settings = Augment(rotation_deg=0, scale=0, flip=0)
    same(augment(drawn(raw, settings), hands), with_joints(raw, hands))


def test_flip_mirrors_and_swaps_and_twice_is_the_identity(raw, hands):
    once, plain = apply(raw, hands, FLIP), with_joints(raw, hands)
    assert torch.equal(once.image, plain.image.flip(-1))
    x, y = plain.joints_2d.flip(1).unbind(-1)
    torch.testing.assert_close(once.joints_2d, torch.stack([SIZE - x, y], -1))
    torch.testing.assert_close(once.vertices, plain.vertices.flip(1) * torch.tensor([-1.0, 1, 1]))
    torch.testing.assert_close(once.joints, hands.joints(once.vertices))
    intrinsics = raw.intrinsics.clone()
    intrinsics[:, 0, 2] = SIZE - intrinsics[:, 0, 2]  # the mirrored camera sees the mirrored hands there
    torch.testing.assert_close(once.joints_2d, project(once.joints, intrinsics[:, None]), atol=1e-3, rtol=0)
    twice = apply(RawBatch(once.image, once.vertices, intrinsics, raw.index), hands, FLIP)
    same(twice, plain)


def test_quarter_turn_is_rot90(raw, hands):
    found, plain = apply(raw, hands, QUARTER), with_joints(raw, hands)
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
    cos, sin = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float32)
    for rotation in (turn, FLIP @ turn):
        found = apply(raw, hands, rotation)
        expected = project(found.joints, raw.intrinsics[:, None])
        torch.testing.assert_close(found.joints_2d, expected, atol=1e-3, rtol=0)


def test_image_and_points_scale_together(raw, hands):
    plain = with_joints(raw, hands)
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
    extent = lambda batch: batch.vertices - batch.vertices.mean((1, 2), keepdim=True)
    torch.testing.assert_close(extent(found).norm(dim=-1), extent(plain).norm(dim=-1))  # metric size stays


def test_outside_is_black(raw, hands):
    raw = RawBatch(torch.full_like(raw.image, 255), raw.vertices, raw.intrinsics, raw.index)
    half = 0.5**0.5
    image = apply(raw, hands, torch.tensor([[half, -half], [half, half]])).image
    corners = image[..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    assert (image[..., SIZE // 2, SIZE // 2] == 255).all()


def test_opencv_and_the_grid_differ_by_rounding_alone(raw):
    batch = drawn(raw, Augment(rotation_deg=90, scale=0.3, flip=0.5))
    assert (torch.linalg.det(batch.rotation) < 0).unique().numel() == 2  # with a mirror image and without
    grid = by_grid(raw.image, batch.rotation.mT / batch.scale[:, None, None])
    for image in (raw.image, raw.image.contiguous(memory_format=torch.channels_last)):
        found = map_images(image, batch.rotation, batch.scale)
        assert found.dtype == grid.dtype == torch.uint8
        assert (found.int() - grid.int()).abs().max() <= 1
        assert (found != grid).float().mean() < 0.01


class OnMeta(TorchFunctionMode):
    """Fails where a function uses a tensor on another device, or makes one from Python's numbers."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function.__name__ not in ("tensor", "as_tensor", "new_tensor")
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            assert not isinstance(value, torch.Tensor) or value.is_meta, function
        return result


def test_augmentation_stays_on_the_device_and_never_waits_for_it(raw, hands):
    """On `meta`, reading a value or indexing by a mask is an error, as there are no values."""
    there = copy.deepcopy(hands).to("meta")
    batch = drawn(raw, Augment(rotation_deg=90, scale=0.1, flip=0.5)).to("meta")
    with OnMeta():
        found = augment(batch, there)
    assert found.image.shape == raw.image.shape and found.vertices.shape == raw.vertices.shape


def test_draws_cover_the_ranges():
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
