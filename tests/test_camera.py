"""Cameras and frames, against OpenCV and formulas in NumPy."""

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handdgcl.hands.camera import (
    bone_scale,
    crop_intrinsics,
    intrinsic_matrix,
    project,
    relative_root,
    root_aligned,
    square_crop,
    weak_perspective,
    world_to_camera,
)
from handdgcl.hands.topology import LEFT, RIGHT


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_projection_is_opencvs(random):
    points, position = random.normal(size=(50, 3)), np.array([0.3, -0.2, -6.0])
    rotation = Rotation.from_rotvec([0.2, -0.3, 0.1])
    k = intrinsic_matrix(np.array([500.0, 510.0]), np.array([160.0, 120.0]))
    shift = -rotation.apply(position)
    expected = cv2.projectPoints(points, rotation.as_rotvec(), shift, k, None)[0][:, 0]
    seen = world_to_camera(*(torch.tensor(a) for a in (points, rotation.as_matrix(), position)))
    np.testing.assert_allclose(project(seen, torch.tensor(k)).numpy(), expected, atol=1e-9)


def test_the_crop_is_centred_filled_and_moves_the_camera_along(random):
    points = np.concatenate([random.normal(size=(2, 50, 2)), random.uniform(4, 6, (2, 50, 1))], -1)
    k = intrinsic_matrix(np.array([500.0, 510.0]), np.array([160.0, 120.0]))
    pixels = project(torch.tensor(points), torch.tensor(k)).numpy()
    for one, crop, space in zip(pixels, square_crop(pixels, fill=0.8, size=64), points, strict=True):
        cut = one @ crop[:, :2].T + crop[:, 2]
        np.testing.assert_allclose((cut.min(0) + cut.max(0)) / 2, 32)
        assert np.ptp(cut, axis=0).max() == pytest.approx(0.8 * 64)
        moved = project(torch.tensor(space), torch.tensor(crop_intrinsics(k, crop))).numpy()
        np.testing.assert_allclose(moved, cut)


def test_frames_of_the_hands(random):
    joints = torch.tensor(random.normal(size=(4, 2, 21, 3)))
    scale = np.linalg.norm(joints[:, :, 9] - joints[:, :, 0], axis=-1)
    np.testing.assert_allclose(bone_scale(joints)[..., 0, 0], scale)
    aligned = root_aligned(joints, joints)
    assert aligned[:, :, 9].abs().max() == 0
    np.testing.assert_allclose(bone_scale(aligned), 1)
    moved = joints * 3 + torch.tensor(random.normal(size=(4, 2, 1, 3)))  # neither place nor size counts
    np.testing.assert_allclose(root_aligned(moved, moved), aligned, atol=1e-12)
    np.testing.assert_array_equal(relative_root(joints), joints[:, LEFT, 9] - joints[:, RIGHT, 9])


def test_weak_perspective_is_the_limit_of_a_far_camera(random):
    points, far = torch.tensor(random.normal(size=(3, 2, 50, 3))), 1e7
    camera = torch.tensor(random.uniform(10, 60, (3, 2, 3)))
    k = torch.zeros(3, 2, 3, 3, dtype=torch.float64)
    k[..., 0, 0] = k[..., 1, 1] = camera[..., 0] * far
    k[..., :2, 2], k[..., 2, 2] = camera[..., 1:], 1
    expected = project(points + torch.tensor([0, 0, far]), k)
    torch.testing.assert_close(weak_perspective(camera, points), expected, atol=1e-3, rtol=0)
