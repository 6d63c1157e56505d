"""Batches and their augmentation (IntagHand, Li et al. 2022): turn, scale, flip of image and geometry.

The loader draws the random maps, so that they depend on seed and epoch alone; images and geometry are mapped
batch by batch on the device that trains, without waiting for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from handdgcl.config import Augment
from handdgcl.hands import Hands
from handdgcl.hands.camera import project
from handdgcl.hands.topology import ROOT_JOINT

DRAWS = 3  # random numbers that a sample takes: turn, scale, flip


@dataclass
class RawBatch:
    """Samples of the store, stacked."""

    image: Tensor  # [B,3,S,S] uint8, RGB, channels last in memory; of a TwinStore [B,9,S,S]
    vertices: Tensor  # [B,H,V,3] metres, camera frame
    intrinsics: Tensor  # [B,3,3] K of the crop, px
    index: Tensor  # [B] int64, position in the store

    def to(self, device: torch.device | str) -> Self:
        """The batch on a device; the copy of a pinned batch runs beside the program."""
        return self._each(lambda value: value.to(device, non_blocking=value.is_pinned()))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory; a `DataLoader` with `pin_memory` calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(**{name: change(value) for name, value in vars(self).items()})


@dataclass
class DrawnBatch(RawBatch):
    """Samples and their random maps, which `augment` carries out."""

    rotation: Tensor  # [B,2,2] R, of the image plane; determinant -1 = a mirror image
    scale: Tensor  # [B] s


@dataclass
class HandBatch:
    """Images and ground truth, after augmentation if there is one: what every model sees."""

    image: Tensor  # [B,3,S,S] uint8, RGB, channels last in memory; of a TwinStore [B,9,S,S]
    vertices: Tensor  # [B,H,V,3] metres, camera frame
    joints: Tensor  # [B,H,J,3] metres, camera frame: the regressor on the ground-truth vertices
    joints_2d: Tensor  # [B,H,J,2] px of the crop
    index: Tensor  # [B] int64, position in the store
    vertices_2d: Tensor | None = None  # [B,H,V,2] px of the crop, where they were asked for


def with_joints(raw: RawBatch, hands: Hands) -> HandBatch:
    """Joints and their projections from what the store holds."""
    joints = hands.joints(raw.vertices)
    joints_2d = project(joints, raw.intrinsics[:, None])
    return HandBatch(raw.image, raw.vertices, joints, joints_2d, raw.index)


def draw_maps(numbers: np.ndarray, settings: Augment) -> tuple[np.ndarray, np.ndarray]:
    """Random maps of the image plane about the crop's centre.

    Args:
        numbers: `[B, DRAWS]`, uniform in [0, 1).
        settings: ranges; all zero leaves the samples as they are.

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


def augment(drawn: DrawnBatch, hands: Hands, *, vertices_2d: bool = False) -> HandBatch:
    """Carry out the maps of a batch, on its device; with all vertices in the image if they are asked for.

    The 2D joints follow the image's own map. In space the pair turns by R about the line through its
    centre (mean of both hands' root joints) parallel to the optical axis; this is IntagHand's
    approximation: correct up to a translation when the pair is on the optical axis, close to it otherwise.
    The scale changes the image only. A mirror image negates x and swaps the hands, without approximation.
    """
    plain = with_joints(drawn, hands)
    a, b, c, d = drawn.rotation.flatten(1).unbind(1)
    mirrored = a * d < b * c  # [B], the sign of the determinant
    linear = drawn.rotation * drawn.scale[:, None, None]
    centre = drawn.image.shape[-1] / 2
    vertices = _swap(_turn(plain.vertices, plain.joints, drawn.rotation, mirrored), mirrored)
    mapped = lambda points: _swap((points - centre) @ linear.mT[:, None] + centre, mirrored)
    of_vertices = mapped(project(drawn.vertices, drawn.intrinsics[:, None])) if vertices_2d else None
    return HandBatch(
        image=_map_all(drawn, mirrored),
        vertices=vertices,
        joints=hands.joints(vertices),
        joints_2d=mapped(plain.joints_2d),
        index=drawn.index,
        vertices_2d=of_vertices,
    )


def _turn(vertices: Tensor, joints: Tensor, rotation: Tensor, mirrored: Tensor) -> Tensor:
    """The pair turned in its place, at its depth; a mirror image stands at the mirrored place."""
    centre = joints[:, :, ROOT_JOINT].mean(1)  # [B,3]
    x, y, z = centre.unbind(1)
    place = torch.stack([torch.where(mirrored, -x, x), y, z], 1)
    turn = torch.eye(3, device=rotation.device).repeat(len(rotation), 1, 1)  # about the optical axis
    turn[:, :2, :2] = rotation
    shift = place - (turn @ centre[..., None])[..., 0]
    return torch.baddbmm(shift[:, None], vertices.flatten(1, 2), turn.mT).view_as(vertices)


def _map_all(drawn: DrawnBatch, mirrored: Tensor) -> Tensor:
    """A batch's images, mapped; where there are images of each hand alone, a mirror image swaps them too."""
    views = [view.contiguous(memory_format=torch.channels_last) for view in drawn.image.split(3, 1)]
    pair, *alone = (map_images(view, drawn.rotation, drawn.scale) for view in views)
    if not alone:
        return pair
    swapped = torch.where(mirrored[:, None, None, None], torch.cat(alone[::-1], 1), torch.cat(alone, 1))
    return torch.cat([pair, swapped], 1)


def _swap(points: Tensor, mirrored: Tensor) -> Tensor:
    """`[B, H, P, D]` with the hands of the mirrored samples exchanged."""
    return torch.where(mirrored[:, None, None, None], points.flip(1), points)


def map_images(image: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
    """Map images `[B, 3, S, S]` uint8 by p' = c + s R (p - c): c the centre, R `[B, 2, 2]`, s `[B]`.

    Interpolated linearly, black where an image ends, channels last in memory. On a GPU by one grid of the
    batch; on a CPU by OpenCV, image by image in cache, which is several times faster there. The two differ
    by rounding alone.
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
    return found.round_().to(torch.uint8, memory_format=torch.channels_last)


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
