"""How well predicted hands cover the true ones in the image.

Each hand's mask is its whole silhouette, whichever hand is in front, on a grid over a square around the
true pair, twice its size: `mask_iou` is intersection over union of each hand's masks, `mask_pair_iou` that
of both hands together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handdgcl.data.camera import square_crop
from handdgcl.hands.raster import silhouettes

GRID = 128  # cells per side; the true pair takes half of them
FILL = 0.5
_CHUNK = 32  # masks at a time


@dataclass(frozen=True)
class TrueMasks:
    """True silhouettes of some pairs.

    Attributes:
        windows: `[B, 2, 3]` px of the image to cells of the grid.
        packed: `[B, H, GRID * GRID / 8]` uint8, eight cells in a byte.
    """

    windows: np.ndarray
    packed: np.ndarray

    def __getitem__(self, rows: slice | np.ndarray) -> "TrueMasks":
        return TrueMasks(self.windows[rows], self.packed[rows])

    @classmethod
    def concatenate(cls, parts: list["TrueMasks"]) -> "TrueMasks":
        """Those of several batches."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("windows", "packed")))


def true_masks(points_2d: np.ndarray | Tensor, faces: Tensor) -> TrueMasks:
    """What predictions are compared with.

    Args:
        points_2d: `[B, H, V, 2]` px of the image, finite.
        faces: `[H, F, 3]`.
    """
    points = np.asarray(points_2d, np.float64)
    corners = np.stack([points.min((1, 2)), points.max((1, 2))], 1)  # [B,2,2]
    windows = square_crop(corners, fill=FILL, size=GRID)
    return TrueMasks(windows, np.packbits(_masks(points, windows, faces), axis=-1))


def mask_errors(points_2d: np.ndarray | Tensor, truth: TrueMasks, faces: Tensor) -> dict[str, Tensor]:
    """Overlap of predicted with true masks.

    Args:
        points_2d: `[B, H, V, 2]` px of the image, finite; parts outside the truth's square are not seen.
        truth: of the same pairs.
        faces: `[H, F, 3]`.

    Returns:
        mask_iou `[B, H]` and mask_pair_iou `[B]`, in [0, 1].
    """
    masks = _masks(np.asarray(points_2d, np.float64), truth.windows, faces)
    true = np.unpackbits(truth.packed, axis=-1).astype(bool)
    return {
        "mask_iou": torch.as_tensor(_iou(masks, true)),
        "mask_pair_iou": torch.as_tensor(_iou(masks.any(1), true.any(1))),
    }


def _masks(points: np.ndarray, windows: np.ndarray, faces: Tensor) -> np.ndarray:
    """Silhouettes `[B, H, GRID * GRID]` bool."""
    cells = points * windows[:, None, :1, [0]] + windows[:, None, None, :, 2]  # scale and shift
    cells = torch.as_tensor(cells.clip(-8 * GRID, 8 * GRID)).float()  # far outside, pixels would not fit
    masks = np.empty((*cells.shape[:2], GRID * GRID), bool)
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        for hand, corners in enumerate(faces):
            covered = silhouettes(chunk[:, hand], corners, height=GRID, width=GRID)
            masks[start : start + len(chunk), hand] = covered.flatten(1).numpy()
    return masks


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union on the last axis; `b` is never empty."""
    return np.count_nonzero(a & b, axis=-1) / np.count_nonzero(a | b, axis=-1)
