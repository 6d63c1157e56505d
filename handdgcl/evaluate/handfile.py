"""Hands of any method in one file: what `handdgcl score` reads.

An .npz with N pairs, the same pairs on both sides, in the same order or with the same `image_id`:

| array | shape | |
|---|---|---|
| `left`, `right` | `[N, 778, 3]` | vertices, metres, camera axes (x right, y down, z forward) |
| `joints_left`, `joints_right` | `[N, 21, 3]` | default: from the vertices; a prediction may have no others |
| `intrinsics` | `[3, 3]` or `[N, 3, 3]` | optional, truth: K in px, for vertices before the camera |
| `image_id` | `[N]` | optional: joins the two files where both have it |
| `left_px`, `right_px` | `[N, 778, 2]` | optional, prediction: vertices in the truth's image, by own camera |
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.arrays import read_arrays
from handdgcl.hands.camera import LEAST_FOCAL_PX, bone_scale
from handdgcl.hands.topology import HAND_SIZE_M, HANDS, JOINT_COUNT, ROOT_JOINT, VERTEX_COUNT, WRIST_JOINT
from handdgcl.model.metrics import Points

_LARGEST_M = 10.0  # of a single one, however badly it is predicted: a hand in millimetres is larger
_SHORTEST_M = 1e-6  # a metacarpal, below which there is none
_LARGEST_PX = 1e6
_LEAST_PX = 3  # pixels of a hand: less is in shares of the image
_SAME_M = 1e-5  # roots nearer than this are one point
_KEYS = {
    "vertices": ("{}", (VERTEX_COUNT, 3)),
    "joints": ("joints_{}", (JOINT_COUNT, 3)),
    "pixels": ("{}_px", (VERTEX_COUNT, 2)),
}


@dataclass(frozen=True)
class HandFile:
    """The checked contents of one file."""

    name: str  # the file, for messages
    vertices: np.ndarray | None = None  # [N,H,V,3] metres; None: joints alone
    joints: np.ndarray | None = None  # [N,H,J,3] metres
    pixels: np.ndarray | None = None  # [N,H,V,2] px
    intrinsics: np.ndarray | None = None  # [N,3,3] px
    image_id: np.ndarray | None = None  # [N], each once
    ignored: tuple[str, ...] = ()  # arrays of the file that mean nothing here

    def __len__(self) -> int:
        return len(self.points_3d)

    @property
    def points_3d(self) -> np.ndarray:
        """Vertices `[N, H, V, 3]`, or joints `[N, H, J, 3]` where there are no others."""
        return self.joints if self.vertices is None else self.vertices

    def is_in_front(self, *, required: bool = False) -> bool:
        """Whether all hands stand before the camera; if they are relative to a root, none may.

        Raises:
            InputError: some hands do and some do not, or `required` and one does not.
        """
        behind = self.points_3d[..., 2].min((1, 2)) <= 0
        if required or not behind.all():
            remedy = "give z > 0, or leave `intrinsics` out"
            _refuse(behind, f"{self.name}: left, right", "is not in front of the camera", remedy)
        return not behind.any()

    def points(self, rows: slice, hands: Hands) -> Points:
        """The metric's points of some pairs, double precision.

        Raises:
            InputError: a metacarpal has no length.
        """
        vertices, joints = (
            None if array is None else torch.from_numpy(array[rows].astype(np.float64))
            for array in (self.vertices, self.joints)
        )
        points = Points(vertices, hands.joints(vertices) if joints is None else joints)
        short = bone_scale(points.joints)[..., 0, 0].numpy() <= _SHORTEST_M
        for hand, name in enumerate(HANDS):
            said = "has a middle metacarpal of length 0"
            _refuse(short[:, hand], f"{self.name}: {name}", said, first=rows.start)
        return points

    def camera(self, rows: slice) -> Tensor:
        """K `[B, 1, 3, 3]` of some pairs."""
        return torch.from_numpy(self.intrinsics[rows].astype(np.float64))[:, None]


def have_own_roots(points: Points) -> bool:
    """Whether both hands' roots coincide in every pair: then each hand is relative to its own."""
    roots = points.joints[:, :, [ROOT_JOINT, WRIST_JOINT]]
    return bool((roots[:, 0] - roots[:, 1]).norm(dim=-1).amax(0).min() <= _SAME_M)


def read_hand_file(path: str | Path) -> HandFile:
    """Read and check a file (see the module's table).

    Raises:
        InputError: it is missing or no such file, or an array is missing, of another shape, not finite or
            not in metres; the message names file, array and sample.
    """
    known = {"intrinsics", "image_id"} | {name.format(hand) for name, _ in _KEYS.values() for hand in HANDS}
    try:
        arrays, ignored = read_arrays(path, known)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give an .npz with left and right, [N, 778, 3]") from None
    return check_arrays(arrays, name=str(path), ignored=ignored)


def check_arrays(arrays: dict[str, np.ndarray], *, name: str, ignored: tuple[str, ...] = ()) -> HandFile:
    """The same from arrays; `name` stands for the file. Those taken leave the dict, which spares memory.

    Raises:
        InputError: as `read_hand_file`.
    """
    found, count, has = {}, None, ", ".join((*arrays, *ignored)) or "none"
    for field, (pattern, tail) in _KEYS.items():
        keys = [pattern.format(hand) for hand in HANDS]
        missing = [key for key in keys if key not in arrays]
        alone = all(_KEYS["joints"][0].format(hand) in arrays for hand in HANDS)
        if missing and ((field == "vertices" and not alone) or len(missing) < len(keys)):
            raise InputError(f"{name}: array {missing[0]!r} is missing; it has {has}")
        if not missing:
            for key in keys:
                _check(arrays[key], (count, *tail), f"{name}: {key}")
                count = len(arrays[key])
            found[field] = _stacked(arrays, keys)
    for hand, key in enumerate(HANDS):
        _check_size(found.get("vertices", found.get("joints"))[:, hand], f"{name}: {key}")
        if "pixels" in found and (size := np.median(np.ptp(found["pixels"][:, hand], axis=1))) < _LEAST_PX:
            raise InputError(f"{name}: {key}_px: its hands are {size:.3g} wide (median); px are wanted")
    if "intrinsics" in arrays:
        found["intrinsics"] = _intrinsics(arrays["intrinsics"], count, f"{name}: intrinsics")
    if "image_id" in arrays:
        found["image_id"] = _names(arrays["image_id"], count, f"{name}: image_id")
    return HandFile(name, **found, ignored=ignored)


def _stacked(arrays: dict[str, np.ndarray], keys: list[str]) -> np.ndarray:
    """`[N, H, …]`; each hand leaves the dict when copied, as those of a real test split have gigabytes."""
    kind = np.result_type(*(arrays[key] for key in keys))
    both = np.empty((len(arrays[keys[0]]), len(keys), *arrays[keys[0]].shape[1:]), kind)
    for h, key in enumerate(keys):
        both[:, h] = arrays.pop(key)
    return both


def _check(array: np.ndarray, shape: tuple, name: str) -> None:
    """Refuse another shape (None: any length but 0), a type that is no number, and NaN or infinity."""
    fits = array.ndim == len(shape) and all(
        length in (None, found) for length, found in zip(shape, array.shape, strict=True)
    )
    if not fits or not array.size:
        expected = ", ".join("N" if length is None else str(length) for length in shape)
        raise InputError(f"{name}: shape {list(array.shape)}; expected [{expected}]")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: holds {array.dtype}; numbers are wanted")
    _refuse(~np.isfinite(array).reshape(len(array), -1).all(1), name, "is NaN or infinite")


def _refuse(bad: np.ndarray, name: str, what: str, remedy: str = "", *, first: int = 0) -> None:
    """Name the first bad sample of `[N]`; the first of them is the file's sample `first`."""
    if bad.any():
        end = f"; {remedy}" if remedy else ""
        raise InputError(f"{name}: sample {first + bad.argmax()} {what}, {bad.sum()} such samples{end}")


def _check_size(vertices: np.ndarray, name: str) -> None:
    """Refuse hands `[N, V, 3]` that are not in metres, all or some."""
    extent = np.ptp(vertices, axis=1).max(1)
    size = float(np.median(extent))
    if not HAND_SIZE_M[0] <= size <= HAND_SIZE_M[1]:
        raise InputError(f"{name}: its hands are {size:.3g} long (median); metres are wanted")
    _refuse(extent > _LARGEST_M, name, f"is longer than {_LARGEST_M:g}", "metres are wanted")


def _intrinsics(array: np.ndarray, count: int, name: str) -> np.ndarray:
    """K of every sample, `[N, 3, 3]`, from one or N."""
    _check(array, (3, 3) if array.ndim == 2 else (count, 3, 3), name)
    bad = (array[..., 2, :] != (0, 0, 1)).any(-1) | (array[..., [0, 1], [0, 1]] == 0).any(-1)
    bad |= array[..., 1, 0] != 0
    wanted = "[[fx, s, cx], [0, fy, cy], [0, 0, 1]] in px is wanted"
    _refuse(np.atleast_1d(bad), name, "is no camera matrix", wanted)
    focal = np.median(np.abs(array[..., [0, 1], [0, 1]]))
    if np.abs(array).max() > _LARGEST_PX:
        raise InputError(f"{name}: up to {np.abs(array).max():.3g}; px of the image are wanted")
    if focal < LEAST_FOCAL_PX:
        raise InputError(f"{name}: a focal length of {focal:.3g} (median); px of the image are wanted")
    return np.broadcast_to(array, (count, 3, 3))


def _names(array: np.ndarray, count: int, name: str) -> np.ndarray:
    """Numbers or texts `[N]` that name each pair once."""
    if array.shape != (count,) or array.dtype.kind not in "iuUS":
        raise InputError(
            f"{name}: {array.dtype} of shape {list(array.shape)}; {count} whole numbers or texts"
        )
    if array.dtype.kind in "iu":  # of one type: where two meet, NumPy compares rounded ones
        largest = np.iinfo(np.int64).max
        _refuse(array > largest, name, f"is above {largest}", "give smaller numbers or texts")
        array = array.astype(np.int64)
    values, times = np.unique(array, return_counts=True)
    if (times > 1).any():
        raise InputError(f"{name}: {values[times > 1][0]} stands twice; each pair has a name of its own")
    return array


def in_order_of(file: HandFile, other: HandFile) -> HandFile:
    """A file's pairs in the order of another's, by `image_id`; as it is where one of them has none.

    Raises:
        InputError: the two do not name the same pairs.
    """
    if file.image_id is None or other.image_id is None:
        return file
    kinds = ["text" if ids.dtype.kind in "US" else "numbers" for ids in (file.image_id, other.image_id)]
    if kinds[0] != kinds[1]:
        raise InputError(f"{file.name}: image_id: {kinds[0]}, and {other.name} has {kinds[1]}; give one kind")
    only = np.setxor1d(file.image_id, other.image_id)
    if len(only):
        raise InputError(
            f"{file.name}: image_id: {only[0]} is in one of the two files alone, {len(only)} such pairs; "
            f"give the pairs of {other.name}"
        )
    if np.array_equal(file.image_id, other.image_id):
        return file
    row = np.argsort(file.image_id)[np.argsort(np.argsort(other.image_id))]
    parts = ("vertices", "joints", "pixels", "intrinsics", "image_id")
    sorted_ = {part: getattr(file, part)[row] for part in parts if getattr(file, part) is not None}
    return replace(file, **sorted_)
