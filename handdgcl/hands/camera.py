"""Cameras and frames: projections, the square crop, root alignment, scale. Pixel centres stand at +0.5."""

import numpy as np
import torch
from torch import Tensor

from handdgcl.hands.topology import LEFT, RIGHT, ROOT_JOINT, SCALE_BONE

MM = 1000.0  # per metre
LEAST_FOCAL_PX = 20.0  # below it a focal length is in shares of the image, or in mm


def world_to_camera(points: Tensor, rotation: Tensor, position: Tensor) -> Tensor:
    """X_c = R (X_w - position), InterHand2.6M's convention (camrot, campos): x right, y down, z forward.

    Points `[..., P, 3]`, rotation `[..., 3, 3]`, position `[..., 3]` of the camera; unit as given.
    """
    return (points - position[..., None, :]) @ rotation.transpose(-1, -2)


def intrinsic_matrix(focal: np.ndarray, principal: np.ndarray) -> np.ndarray:
    """K `[3, 3]` from focal lengths `[2]` and principal point `[2]` in px."""
    return np.array([[focal[0], 0, principal[0]], [0, focal[1], principal[1]], [0, 0, 1]], dtype=np.float64)


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Perspective projection to px `[..., P, 2]` of points `[..., P, 3]`, camera frame, z > 0.

    The intrinsics `[..., 3, 3]` are broadcast over the leading axes of `points`.
    """
    homogeneous = points @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def square_crop(points_2d: np.ndarray, *, fill: float, size: int) -> np.ndarray:
    """The affine map of the benchmark's crop: a square around the points, which fill a share of it.

    Args:
        points_2d: `[..., P, 2]` px of the full image, both hands' projected vertices.
        fill: share of the crop's side that the longer side of their bounding box takes (0.8).
        size: side S of the crop in px.

    Returns:
        `[..., 2, 3]`: full-image px to crop px (scale and translation; IntagHand, Li et al. 2022).
    """
    low, high = points_2d.min(-2), points_2d.max(-2)
    scale = size * fill / np.maximum((high - low).max(-1), 1e-6)
    crop = np.zeros((*scale.shape, 2, 3))
    crop[..., 0, 0] = crop[..., 1, 1] = scale
    crop[..., 2] = size / 2 - scale[..., None] * ((low + high) / 2)
    return crop


def crop_intrinsics(intrinsics: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """K `[3, 3]` of the crop, px: the crop's affine map `[2, 3]` after the camera's own K `[3, 3]`."""
    return np.vstack([crop, [0, 0, 1]]) @ intrinsics


def bone_scale(joints: Tensor) -> Tensor:
    """|J9 - J0|, the middle metacarpal, of joints `[..., J, 3]`: the unit of length of Tables 1-2.

    `[..., 1, 1]`, ready to divide points by.
    """
    start, end = SCALE_BONE
    return torch.linalg.vector_norm(joints[..., end, :] - joints[..., start, :], dim=-1)[..., None, None]


def root_aligned(points: Tensor, joints: Tensor) -> Tensor:
    """Points with the hand's root joint at the origin, in units of its |J9 - J0|: the frame of the losses.

    Points `[..., P, 3]` and joints `[..., J, 3]` of the same hands, in one unit.
    """
    return (points - joints[..., ROOT_JOINT, None, :]) / bone_scale(joints)


def relative_root(joints: Tensor, root: int = ROOT_JOINT) -> Tensor:
    """Left root minus right root of joints `[B, H, J, 3]`: `[B, 3]`, their unit."""
    return joints[:, LEFT, root] - joints[:, RIGHT, root]


def weak_perspective(camera: Tensor, points: Tensor) -> Tensor:
    """Weak-perspective projection to px `[B, H, P, 2]` of points `[B, H, P, 3]`, root at the origin.

    The camera `[B, H, 3]` is s (px per unit), t_x, t_y (px).
    """
    return camera[..., None, :1] * points[..., :2] + camera[..., None, 1:]
