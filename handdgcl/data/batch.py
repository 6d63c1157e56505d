"""The batch that every model sees."""

from dataclasses import dataclass

from torch import Tensor

from handdgcl.data.camera import project
from handdgcl.hands import Hands


@dataclass
class RawBatch:
    """What the store holds of some samples, stacked.

    Attributes:
        image: `[B, 3, S, S]` uint8, RGB, channels last in memory.
        vertices: `[B, H, V, 3]` metres, camera frame.
        intrinsics: `[B, 3, 3]` K of the crop, px.
        index: `[B]` int64, position in the store.
    """

    image: Tensor
    vertices: Tensor
    intrinsics: Tensor
    index: Tensor


@dataclass
class HandBatch:
    """Images and ground truth, after augmentation if there is one.

    Attributes:
        image: `[B, 3, S, S]` uint8, RGB, channels last in memory.
        vertices: `[B, H, V, 3]` metres, camera frame.
        joints: `[B, H, J, 3]` metres, camera frame: the regressor on the ground-truth vertices.
        joints_2d: `[B, H, J, 2]` px of the crop.
        index: `[B]` int64, position in the store.
    """

    image: Tensor
    vertices: Tensor
    joints: Tensor
    joints_2d: Tensor
    index: Tensor


def finish(raw: RawBatch, hands: Hands) -> HandBatch:
    """Joints and their projections from what the store holds."""
    joints = hands.joints(raw.vertices)
    return HandBatch(
        image=raw.image,
        vertices=raw.vertices,
        joints=joints,
        joints_2d=project(joints, raw.intrinsics[:, None]),
        index=raw.index,
    )
