"""How two hands touch: penetration, and which of the true contacts a prediction keeps.

Nothing is scaled or aligned: the hands stand to each other as predicted. Wrists are closed.

| name | meaning |
|---|---|
| `penetration_depth_mm` | greatest depth of a vertex of one hand inside the other |
| `penetration_volume_cm3` | volume that both hands fill |
| `contacts_kept_share` | share of the true contacts that are contacts in the prediction |
| `contact_deviation_mm` | how far the two points of a true contact are apart, mean over the contacts |
| `true_...` | the ground truth's own values; `true_contacts` counts them |

A contact is a vertex of either hand that is inside the other or at most 3 mm from its surface; its other
point is the closest one on that surface (contact deviation as in ARCTIC, Fan et al. 2023, which takes the
closest vertex). Depth and distance are libigl's, the volume is that of Manifold's boolean intersection,
which counts a part of a hand that overlaps itself as often as it does. What cannot be measured is NaN,
never 0; where the truth has no contact, nothing can be kept: NaN as well (see `failures`).
"""

from dataclasses import dataclass

import igl
import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed
from torch import Tensor

from handdgcl.evaluate.closeness import CONTACT_MM, closeness
from handdgcl.hands.solid import seal
from handdgcl.hands.topology import HANDS
from handdgcl.model.metrics import MM

_CHUNK = 32  # pairs that one process takes at a time; fewer are not worth another process
_PROCESSES = 8  # at most: each takes seconds to start

ERRORS = (
    "penetration_depth_mm",
    "penetration_volume_cm3",
    "contacts_kept_share",
    "contact_deviation_mm",
    "true_penetration_depth_mm",
    "true_penetration_volume_cm3",
    "true_contact_deviation_mm",
    "true_contacts",
)


@dataclass(frozen=True)
class Contacts:
    """Contacts of one hand's vertices with the other hand.

    Attributes:
        vertex: `[C]` of this hand.
        corners: `[C, 3]` vertices of the other hand, sealed: the face that is touched.
        weights: `[C, 3]` barycentric, where on it.
    """

    vertex: np.ndarray
    corners: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class TruePair:
    """The truth of one pair, in the units of the names; NaN and no contacts where it is no solid."""

    depth_mm: float
    volume_cm3: float
    deviation_mm: float
    contacts: list[Contacts]


def true_interaction(vertices: np.ndarray | Tensor, faces: list[np.ndarray]) -> list[TruePair]:
    """What predictions are compared with; measured once for any number of them.

    Args:
        vertices: `[B, H, V, 3]` metres.
        faces: `solid.sealed_faces` of the hand models.
    """
    parts = _spread(_true_pairs, faces, np.asarray(vertices))
    return [pair for part in parts for pair in part]


def interaction_errors(
    vertices: np.ndarray | Tensor, truth: list[TruePair], faces: list[np.ndarray]
) -> dict[str, Tensor]:
    """Penetration and contacts of predicted hands (see the module's table).

    Args:
        vertices: `[B, H, V, 3]` metres, any origin, finite.
        truth: of the same B pairs.
        faces: `solid.sealed_faces` of the hand models.

    Returns:
        name -> `[B]`, double precision; NaN where it could not be measured.
    """
    if len(vertices) != len(truth):
        raise ValueError(f"{len(vertices)} predicted pairs, {len(truth)} true ones")
    lines = [line for part in _spread(_errors, faces, np.asarray(vertices), truth) for line in part]
    return {name: torch.tensor([line[name] for line in lines]).double() for name in ERRORS}


def failures(errors: dict[str, Tensor]) -> dict[str, int]:
    """How often each value of `interaction_errors` could not be measured.

    A hand that is no solid (it encloses no positive volume: inside out, or of the other side) has none of
    them; the volume can fail by itself. Pairs without a true contact are no failures.
    """
    wanted = {name: ~errors["true_contacts"].eq(0) for name in errors if "contact" in name}
    return {
        name: int((value.isnan() & wanted.get(name, torch.ones_like(value, dtype=torch.bool))).sum())
        for name, value in errors.items()
    }


def _spread(function, faces: list[np.ndarray], *arguments) -> list:
    """`function(faces, *arguments)` chunk by chunk, on several cores where there are several chunks.

    The processes are kept for the next call; fresh ones, as igl and Manifold do not survive a fork.
    """
    starts = range(0, len(arguments[0]), _CHUNK)
    jobs = (delayed(function)(faces, *(a[start : start + _CHUNK] for a in arguments)) for start in starts)
    return Parallel(n_jobs=min(cpu_count(), _PROCESSES) if len(starts) > 1 else 1)(jobs)


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


def _solids(vertices: np.ndarray | Tensor, faces: list[np.ndarray]):
    """Of each pair the sealed vertices `[H, V + 1, 3]` mm and whether both hands enclose a volume."""
    for pair in np.asarray(vertices):
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
    apart = [
        sealed[h][c.vertex] - (c.weights[..., None] * sealed[1 - h][c.corners]).sum(1)
        for h, c in enumerate(contacts)
    ]
    return float(np.linalg.norm(np.concatenate(apart), axis=1).mean())
