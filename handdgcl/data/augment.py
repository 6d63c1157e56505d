"""Training augmentation on images and geometry together (IntagHand, Li et al. 2022): turn, scale, flip.

The loader draws the random maps, so that they depend on seed and epoch alone; images and geometry are mapped
batch by batch on the device that trains.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
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
class DrawnBatch(RawBatch):
    """Samples and their random maps, which `augment` carries out.

    Attributes:
        rotation: `[B, 2, 2]` R, of the image plane; determinant -1 = a mirror image.
        scale: `[B]` s.
    """

    rotation: Tensor
    scale: Tensor


class Augmented(Dataset):
    """A store as training sees it: each sample with a random turn, scale and flip.

    Args:
        store: the samples.
        settings: ranges; all zero leaves the samples as they are.
    """

    def __init__(self, store: Store, settings: Augment):
        self.store, self.settings = store, settings

    def __len__(self) -> int:
        return len(self.store)

    def __getitems__(self, draw: Draw) -> DrawnBatch:
        """What a DataLoader asks for."""
        raw = self.store.batch(draw.index)
        rotation, scale = map(torch.from_numpy, draw_maps(draw.numbers, self.settings))
        return DrawnBatch(**vars(raw), rotation=rotation, scale=scale)


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


def map_images(image: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
    """Map images: p' = c + s R (p - c), with c the crop's centre.

    On a GPU by one grid of the batch; on a CPU by OpenCV, image by image in cache, which is several times
    faster there. The two differ by rounding alone.

    Args:
        image: `[B, 3, S, S]` uint8, channels last in memory.
        rotation: `[B, 2, 2]`; determinant -1 = a mirror image.
        scale: `[B]`.

    Returns:
        `[B, 3, S, S]` uint8, channels last, interpolated linearly, black where an image ends.
    """
    back = rotation.mT / scale[:, None, None]  # R^T / s: where each pixel comes from
    return _by_opencv(image, back) if image.device.type == "cpu" else by_grid(image, back)


def by_grid(image: Tensor, back: Tensor) -> Tensor:
    """`map_images` on any device; `back` `[B, 2, 2]` leads from the result to the image, about the centre."""
    B, _, _, S = image.shape
    axis = (2 * torch.arange(S, device=image.device) + 1) / S - 1  # pixel centres, the crop is [-1, 1]
    column, row = (axis[:, None] * back[:, None, :, k] for k in range(2))  # [B,S,2], whose sum is the place
    place = (row[:, :, None] + column[:, None]).view(B, S, S, 2)
    found = functional.grid_sample(image.to(torch.float32), place, align_corners=False)
    return found.round_().to(torch.uint8)


def _by_opencv(image: Tensor, back: Tensor) -> Tensor:
    """In pixels of four bytes, for which OpenCV's warp is twice as fast as for three."""
    pixels = image.permute(0, 2, 3, 1).numpy()
    S, linear = image.shape[-1], back.numpy().astype(np.float64)
    centre = np.full(2, (S - 1) / 2)  # OpenCV's pixel centres are integers
    maps = np.concatenate([linear, (centre - linear @ centre)[..., None]], -1)  # [B,2,3]
    out, (wide, turned) = np.empty(pixels.shape, np.uint8), np.empty((2, S, S, 4), np.uint8)
    for source, affine, target in zip(pixels, maps, out, strict=True):
        cv2.cvtColor(source, cv2.COLOR_RGB2RGBA, dst=wide)
        cv2.warpAffine(wide, affine, (S, S), dst=turned, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        cv2.cvtColor(turned, cv2.COLOR_RGBA2RGB, dst=target)
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def augment(drawn: DrawnBatch, hands: Hands) -> HandBatch:
    """Carry out the maps of a batch, on its device.

    The 2D joints follow the image's own map. In space the pair turns by R about the line through its
    centre (mean of both hands' root joints) parallel to the optical axis; this is IntagHand's
    approximation: exact up to a translation when the pair is on the optical axis, close to it otherwise.
    The scale changes the image only. A mirror image negates x and swaps the hands; it is exact.

    Args:
        drawn: B samples.
        hands: for the joints.

    Returns:
        The batch, mapped as a whole.
    """
    plain = finish(drawn, hands)
    flipped = torch.linalg.det(drawn.rotation) < 0
    linear = drawn.rotation * drawn.scale[:, None, None]
    centre = drawn.image.shape[-1] / 2
    vertices = _swap(_turn(plain.vertices, plain.joints, drawn.rotation, flipped), flipped)
    joints_2d = (plain.joints_2d - centre) @ linear.transpose(1, 2)[:, None] + centre
    return HandBatch(
        image=map_images(drawn.image, drawn.rotation, drawn.scale),
        vertices=vertices,
        joints=hands.joints(vertices),
        joints_2d=_swap(joints_2d, flipped),
        index=drawn.index,
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
