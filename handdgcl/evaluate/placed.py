"""Some pairs of a hand file as the metric's points: in double precision, and where they are in the image."""

import numpy as np
import torch
from torch import Tensor

from handdgcl.data.camera import bone_scale, project
from handdgcl.errors import InputError
from handdgcl.evaluate.handfile import Array, HandFile
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, JOINTS, ROOT_JOINT, WRIST_JOINT
from handdgcl.model.metrics import Points

_SHORTEST_M = 1e-6  # a metacarpal, below which there is none
_JOINTS_OFF_M = 0.03  # given joints from the vertices' own: more is another unit, frame or order
_SAME_M = 1e-5  # roots nearer than this are one point


def points_of(file: HandFile, rows: slice, hands: Hands) -> Points:
    """The metric's points of some pairs."""
    points = Points.from_vertices(_stack(file.vertices, rows), hands)
    if file.joints is not None:
        given = _stack(file.joints, rows)
        for k, hand in enumerate(HANDS):
            off = float((given - points.joints)[:, k].norm(dim=-1).median())
            if off > _JOINTS_OFF_M:
                raise InputError(
                    f"{file.name}: joints_{hand}: {off:.3g} m (median) from the joints of {hand}'s vertices; "
                    f"give metres, the same frame and the order {', '.join(JOINTS[:5])} …, or leave them out"
                )
        points = Points(points.vertices, given)
    short = bone_scale(points.joints)[..., 0, 0] <= _SHORTEST_M
    if short.any():
        sample, hand = short.nonzero()[0].tolist()
        raise InputError(
            f"{file.name}: {HANDS[hand]}: sample {rows.start + sample} has a middle metacarpal of length 0"
        )
    return points


def apart(points: Points) -> bool:
    """Whether the two hands' roots differ in some pair; if not, each hand is relative to its own."""
    roots = points.joints[:, :, [ROOT_JOINT, WRIST_JOINT]]
    return bool((roots[:, 0] - roots[:, 1]).norm(dim=-1).amax(0).min() > _SAME_M)


def in_front(file: HandFile, *, required: bool = False) -> bool:
    """Whether the hands stand before the camera; none of them may if they are relative to a root."""
    behind = file.nearest <= 0
    if behind.any() and (required or not behind.all()):
        raise InputError(
            f"{file.name}: left, right: sample {behind.argmax()} is not in front of the camera, "
            f"{behind.sum()} such samples; give z > 0, or leave `intrinsics` out"
        )
    return not behind.any()


def pixels_of(prediction: HandFile, truth: HandFile, points: Points, rows: slice) -> Tensor:
    """Predicted vertices in the image `[B, H, V, 2]`: its own, or by the true camera."""
    if prediction.pixels is None:
        return project(points.vertices, intrinsics_of(truth, rows))
    return _stack(prediction.pixels, rows)


def with_joints_2d(
    points: Points, prediction: HandFile, truth: HandFile, points_2d: Tensor, rows: slice, hands: Hands
) -> Points:
    """Predicted joints in the image: those of the predicted pixels, which are exact for weak perspective."""
    if prediction.pixels is None:
        joints_2d = project(points.joints, intrinsics_of(truth, rows))
    else:
        joints_2d = hands.joints(points_2d)
    return Points(points.vertices, points.joints, joints_2d)


def intrinsics_of(truth: HandFile, rows: slice) -> Tensor:
    """K `[B, 1, 3, 3]`."""
    return torch.from_numpy(truth.intrinsics[rows].astype(np.float64))[:, None]


def _stack(arrays: tuple[Array, ...], rows: slice) -> Tensor:
    """Some pairs of a file, double precision, the hands as axis 1."""
    return torch.from_numpy(np.stack([array[rows] for array in arrays], 1).astype(np.float64))
