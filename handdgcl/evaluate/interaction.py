"""How two hands touch, and how well they cover the true ones in the image.

Nothing is scaled or aligned: the hands stand to each other as predicted. Wrists are closed.

| name | meaning |
|---|---|
| `penetration_depth_mm` | greatest depth of a vertex of one hand inside the other |
| `penetration_volume_cm3` | volume that both hands fill |
| `contacts_kept_share` | share of the true contacts that are contacts in the prediction |
| `contact_deviation_mm` | how far the two points of a true contact are apart, mean over the contacts |
| `true_...` | the ground truth's own values; `true_contacts` counts them |
| `mask_iou`, `mask_pair_iou` | intersection over union of each hand's masks, and of both hands' together |

A contact is a vertex of either hand that is inside the other or at most 3 mm from its surface; its other
point is the closest one on that surface (contact deviation as in ARCTIC, Fan et al. 2023, which takes the
closest vertex). A part of a hand that overlaps itself counts in the volume as often as it does. What cannot
be measured is NaN, never 0; so is what is kept where the truth has no contact (see `failures`).

A mask is a hand's whole silhouette, whichever hand is in front, on a grid over a square around the true
pair, twice its size.
"""

from dataclasses import dataclass

import igl
import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor

from handdgcl.hands.camera import MM, square_crop
from handdgcl.hands.contact import CONTACT_MM, closeness, seal
from handdgcl.hands.raster import silhouettes
from handdgcl.hands.topology import HANDS

GRID, FILL = 128, 0.5  # cells per side of a mask; the true pair takes half of them
_CHUNK = 16  # pairs that one process takes at a time; fewer are not worth another process
_PROCESSES = 8  # at most: each takes seconds to start

ERRORS = (
    *("penetration_depth_mm", "penetration_volume_cm3", "contacts_kept_share", "contact_deviation_mm"),
    *("true_penetration_depth_mm", "true_penetration_volume_cm3", "true_contact_deviation_mm"),
    "true_contacts",
)


@dataclass(frozen=True)
class Contacts:
    """Contacts of one hand's vertices with the other hand."""

    vertex: np.ndarray  # [C] of this hand
    corners: np.ndarray  # [C,3] vertices of the other hand, sealed: the face that is touched
    weights: np.ndarray  # [C,3] barycentric, where on it


@dataclass(frozen=True)
class TruePair:
    """The truth of one pair, in the units of the names; NaN and no contacts where it is no solid."""

    depth_mm: float
    volume_cm3: float
    deviation_mm: float
    contacts: list[Contacts]


def true_interaction(vertices: np.ndarray | Tensor, faces: list[np.ndarray]) -> list[TruePair]:
    """What predictions are compared with, from `[B, H, V, 3]` metres and the hands' `sealed_faces`."""
    return _in_chunks(_true_pairs, faces, np.asarray(vertices))


def interaction_errors(
    vertices: np.ndarray | Tensor, truth: list[TruePair], faces: list[np.ndarray]
) -> dict[str, Tensor]:
    """Penetration and contacts of predicted hands (see the module's table).

    Args:
        vertices: `[B, H, V, 3]` metres, any origin, finite.
        truth: of the same B pairs.
        faces: `sealed_faces` of the hand models.

    Returns:
        name of `ERRORS` -> `[B]`, double precision.
    """
    lines = _in_chunks(_errors, faces, np.asarray(vertices), truth)
    return {name: torch.tensor([line[name] for line in lines]).double() for name in ERRORS}


def failures(errors: dict[str, Tensor]) -> dict[str, int]:
    """How often each of `errors` is NaN; pairs without a true contact are no failures.

    A hand that is no solid (it encloses no positive volume: inside out, or of the other side) has none of
    `interaction_errors`; the volume can fail by itself.
    """
    wanted = {name: ~errors["true_contacts"].eq(0) for name in errors if "contact" in name}
    return {
        name: int((value.isnan() & wanted.get(name, torch.ones_like(value, dtype=torch.bool))).sum())
        for name, value in errors.items()
    }


def _in_chunks(function, faces: list[np.ndarray], *arguments) -> list:
    """What `function(faces, *arguments)` lists, chunk by chunk; on several cores where there are several.

    The processes are kept for the next call; fresh ones, as igl and Manifold do not survive a fork.
    """
    starts = range(0, len(arguments[0]), _CHUNK)
    jobs = (delayed(function)(faces, *(a[start : start + _CHUNK] for a in arguments)) for start in starts)
    parts = Parallel(n_jobs=min(cpu_count(), _PROCESSES) if len(starts) > 1 else 1)(jobs)
    return [one for part in parts for one in part]


def _true_pairs(faces: list[np.ndarray], vertices: np.ndarray) -> list[TruePair]:
    """The truth of a chunk."""
    return [_true_pair(sealed, faces, solid) for sealed, solid in _solids(vertices, faces)]


def _errors(faces: list[np.ndarray], vertices: np.ndarray, truth: list[TruePair]) -> list[dict[str, float]]:
    """The values of each pair of a chunk."""
    lines = []
    for (sealed, solid), true in zip(_solids(vertices, faces), truth, strict=True):
        count = sum(len(contacts.vertex) for contacts in true.contacts)
        line = dict.fromkeys(ERRORS, np.nan) | {
            "true_penetration_depth_mm": true.depth_mm,
            "true_penetration_volume_cm3": true.volume_cm3,
            "true_contact_deviation_mm": true.deviation_mm,
            "true_contacts": np.nan if np.isnan(true.depth_mm) else float(count),
        }
        if solid:
            close = closeness(sealed, faces, contacts=count > 0)
            line["penetration_depth_mm"] = close.depth_mm
            line["penetration_volume_cm3"] = close.volume_cm3
            if count:
                outside = np.concatenate([close.outside[h, c.vertex] for h, c in enumerate(true.contacts)])
                line["contacts_kept_share"] = float(np.mean(outside <= CONTACT_MM))
                line["contact_deviation_mm"] = _deviation(sealed, true.contacts)
        lines.append(line)
    return lines


def _solids(vertices: np.ndarray, faces: list[np.ndarray]):
    """Of each pair the sealed vertices `[H, V + 1, 3]` mm and whether both hands enclose a volume."""
    for pair in vertices:
        sealed = seal(pair.astype(np.float64) * MM)
        volumes = []
        for points, corners in zip(sealed, faces, strict=True):
            a, b, c = (points - points[0])[corners.T]
            volumes.append(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)
        yield sealed, min(volumes) > 0


def _true_pair(sealed: np.ndarray, faces: list[np.ndarray], solid: bool) -> TruePair:
    """Depth, volume and contacts of one true pair."""
    if not solid:
        return TruePair(np.nan, np.nan, np.nan, [])
    close = closeness(sealed, faces, contacts=True)
    contacts, distances = [], []
    for h in range(len(HANDS)):
        vertex = (close.outside[h] <= CONTACT_MM).nonzero()[0]
        corners = faces[1 - h][close.face[h, vertex]]
        triangle = [np.ascontiguousarray(sealed[1 - h][corners[:, k]]) for k in range(3)]
        weights = igl.barycentric_coordinates(close.place[h, vertex], *triangle) if len(vertex) else corners
        contacts.append(Contacts(vertex, corners, weights))
        distances.append(close.distance[h, vertex])
    distances = np.concatenate(distances)
    deviation = distances.mean() if len(distances) else np.nan
    return TruePair(close.depth_mm, close.volume_cm3, deviation, contacts)


def _deviation(sealed: np.ndarray, contacts: list[Contacts]) -> float:
    """Mean distance in mm of the two points of each contact."""
    shift = [
        sealed[h][c.vertex] - (c.weights[..., None] * sealed[1 - h][c.corners]).sum(1)
        for h, c in enumerate(contacts)
    ]
    return float(np.linalg.norm(np.concatenate(shift), axis=1).mean())


@dataclass(frozen=True)
class TrueMasks:
    """True silhouettes of some pairs."""

    windows: np.ndarray  # [B,2,3] px of the image to cells of the grid
    packed: np.ndarray  # [B,H,GRID*GRID/8] uint8, eight cells in a byte

    def __getitem__(self, rows: slice | np.ndarray) -> "TrueMasks":
        return TrueMasks(self.windows[rows], self.packed[rows])


def true_masks(points_2d: np.ndarray | Tensor, faces: Tensor) -> TrueMasks:
    """What predictions are compared with, from `[B, H, V, 2]` px of the image and faces `[H, F, 3]`."""
    points = np.asarray(points_2d, np.float64)
    windows = square_crop(points.reshape(len(points), -1, 2), fill=FILL, size=GRID)
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
