"""Training augmentation on images and geometry together (IntagHand, Li et al. 2022): turn, scale, flip.

Images are mapped where they are decoded, in the loader's processes, one by one while they are in the
processor's cache; the geometry follows on the batch's device.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from handdgcl.config import Augment
from handdgcl.data.batch import HandBatch, RawBatch, finish
from handdgcl.data.store import Store
from handdgcl.hands import Hands
from handdgcl.hands.topology import MIRROR_POINT, ROOT_JOINT

DRAWS = 3  # random numbers that a sample takes: turn, scale, flip


class Draw(NamedTuple):
    """Which samples, and their random numbers.

    Attributes:
        index: B positions in the store.
        numbers: `[B, DRAWS]` float32, uniform in [0, 1).
    """

    index: list[int]
    numbers: np.ndarray


@dataclass
class MappedBatch(RawBatch):
    """Samples whose images are mapped already and whose geometry is not.

    Attributes:
        rotation: `[B, 2, 2]` R, of the image plane; determinant -1 = a mirror image.
        scale: `[B]` s.
    """

    rotation: Tensor
    scale: Tensor


class Augmented(Dataset):
    """A store as training sees it: a random turn, scale and flip of each sample.

    Args:
        store: the samples.
        settings: ranges; all zero leaves the samples as they are.
    """

    def __init__(self, store: Store, settings: Augment):
        self.store, self.settings = store, settings

    def __len__(self) -> int:
        return len(self.store)

    def __getitems__(self, draw: Draw) -> MappedBatch:
        """What a DataLoader asks for."""
        rotation, scale = draw_maps(draw.numbers, self.settings)
        return MappedBatch(
            image=map_images(self.store.pictures(draw.index), rotation, scale, size=self.store.size),
            vertices=self.store.vertices(draw.index),
            intrinsics=self.store.intrinsics(draw.index),
            index=torch.as_tensor(draw.index),
            rotation=torch.from_numpy(rotation),
            scale=torch.from_numpy(scale),
        )


def draw_maps(numbers: np.ndarray, settings: Augment) -> tuple[np.ndarray, np.ndarray]:
    """Random maps of the image plane about the crop's centre.

    Args:
        numbers: `[B, DRAWS]`, uniform in [0, 1).
        settings: ranges.

    Returns:
        rotation `[B, 2, 2]` by an angle uniform in ± `rotation_deg`, followed by a mirror image (x → -x)
        with probability `flip`; and scale `[B]`, uniform in 1 ± `scale`. Both float32.
    """
    turn, grow, flip = numbers.T
    angle = (2 * turn - 1) * np.float32(np.deg2rad(settings.rotation_deg))
    mirror = np.where(flip < settings.flip, np.float32(-1), np.float32(1))
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([mirror * cos, -mirror * sin], -1), np.stack([sin, cos], -1)], 1)
    return rotation, 1 + (2 * grow - 1) * np.float32(settings.scale)


def map_images(
    pictures: Iterable[np.ndarray], rotation: np.ndarray, scale: np.ndarray, *, size: int
) -> Tensor:
    """Map images alone: p' = c + s R (p - c), with c the crop's centre.

    Args:
        pictures: B images `[S, S, 3]` uint8.
        rotation: `[B, 2, 2]`; determinant -1 = a mirror image.
        scale: `[B]`.
        size: S.

    Returns:
        `[B, 3, S, S]` uint8, interpolated linearly, black where an image ends.
    """
    linear = rotation * scale[:, None, None]
    centre = np.full(2, (size - 1) / 2)  # OpenCV's pixel centres are integers
    affine = np.concatenate([linear, (centre - linear @ centre)[..., None]], -1)
    mapped = torch.empty(len(affine), size, size, 3, dtype=torch.uint8)
    for picture, matrix, out in zip(pictures, affine, mapped.numpy(), strict=True):
        cv2.warpAffine(picture, matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return mapped.permute(0, 3, 1, 2)


def map_geometry(mapped: MappedBatch, hands: Hands) -> HandBatch:
    """Let the geometry follow the images, on the batch's device.

    The 2D joints follow the image's own map. In space the pair turns by R about the line through its
    centre (mean of both hands' root joints) parallel to the optical axis; this is IntagHand's
    approximation: exact up to a translation when the pair is on the optical axis, close to it otherwise.
    The scale changes the image only. A mirror image negates x and swaps the hands; it is exact.

    Args:
        mapped: B samples.
        hands: for the joints.

    Returns:
        The batch, mapped as a whole.
    """
    plain = finish(mapped, hands)
    flipped = torch.linalg.det(mapped.rotation) < 0
    linear = mapped.rotation * mapped.scale[:, None, None]
    centre = mapped.image.shape[-1] / 2
    vertices = _swap(_turn(plain.vertices, plain.joints, mapped.rotation, flipped), flipped)
    joints_2d = (plain.joints_2d - centre) @ linear.transpose(1, 2)[:, None] + centre
    return HandBatch(
        image=plain.image,
        vertices=vertices,
        joints=hands.joints(vertices),
        joints_2d=_swap(joints_2d, flipped),
        index=mapped.index,
    )


def _turn(vertices: Tensor, joints: Tensor, rotation: Tensor, flipped: Tensor) -> Tensor:
    """The pair turned in its place, at its depth; a mirror image stands at the mirrored place."""
    centre = joints[:, :, ROOT_JOINT].mean(1)  # [B,3]
    mirror = centre.new_tensor(MIRROR_POINT.tolist())
    place = torch.where(flipped[:, None], centre * mirror, centre)
    turn = torch.eye(3, device=rotation.device).repeat(len(rotation), 1, 1)  # about the optical axis
    turn[:, :2, :2] = rotation
    shift = place - (turn @ centre[..., None])[..., 0]
    return torch.baddbmm(shift[:, None], vertices.flatten(1, 2), turn.mT).view_as(vertices)


def _swap(points: Tensor, flipped: Tensor) -> Tensor:
    """Exchange the hands, axis 1, of the flipped samples."""
    hand = torch.arange(points.shape[1], device=points.device)
    order = torch.where(flipped[:, None], hand.flip(0), hand)  # [B,H]
    return points[torch.arange(len(points), device=points.device)[:, None], order]
