"""Hands of any method in one file: what `handdgcl score` reads.

An .npz with N pairs, the same pairs in the same order on both sides:

| array | shape | |
|---|---|---|
| `left`, `right` | `[N, 778, 3]` | vertices, metres, camera axes (x right, y down, z forward) |
| `joints_left`, `joints_right` | `[N, 21, 3]` | optional; default: regressed from the vertices |
| `intrinsics` | `[3, 3]` or `[N, 3, 3]` | optional, truth: K in px, for vertices before the camera |
| `left_px`, `right_px` | `[N, 778, 2]` | optional, prediction: vertices in the image, by its own camera |
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handdgcl.errors import InputError
from handdgcl.evaluate.npz import DAMAGE, Rows, open_npz
from handdgcl.hands.topology import HANDS, JOINT_COUNT, VERTEX_COUNT

HAND_SIZE_M = (0.04, 0.5)  # extent of a plausible hand: tells metres from millimetres and unit bones
_LARGEST_M = 10.0  # of a single one, however badly it is predicted: a hand in millimetres is larger
_KEYS = {
    "vertices": ("{}", (VERTEX_COUNT, 3)),
    "joints": ("joints_{}", (JOINT_COUNT, 3)),
    "pixels": ("{}_px", (VERTEX_COUNT, 2)),
}
_CHUNK = 1024  # samples looked at together

Array = np.ndarray | Rows


@dataclass(frozen=True)
class HandFile:
    """The checked contents of one file; arrays of (left, right), which may lie on disk: take slices.

    Attributes:
        name: the file, for messages.
        vertices: `[N, 778, 3]` of each hand, metres.
        nearest: `[N]` metres, the least z of both hands.
        joints: `[N, 21, 3]` of each hand, or None.
        pixels: `[N, 778, 2]` of each hand, or None.
        intrinsics: `[N, 3, 3]`, or None.
        ignored: arrays of the file that mean nothing here.
    """

    name: str
    vertices: tuple[Array, ...]
    nearest: np.ndarray
    joints: tuple[Array, ...] | None = None
    pixels: tuple[Array, ...] | None = None
    intrinsics: np.ndarray | None = None
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.vertices[0])


def read_hand_file(path: str | Path) -> HandFile:
    """Read and check a file (see the module's table).

    Raises:
        InputError: it is missing or no such file, or an array is missing, of another shape, not finite or
            not in metres; the message names file, array and sample.
    """
    path = Path(path)
    try:
        arrays = open_npz(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give an .npz with left and right, [N, 778, 3]") from None
    except DAMAGE as error:
        raise InputError(
            f"{path}: not an .npz of plain arrays ({error}); write it with numpy.savez"
        ) from error
    return check_arrays(arrays, name=str(path))


def check_arrays(arrays: dict[str, Array], *, name: str) -> HandFile:
    """The same from arrays.

    Raises:
        InputError: as `read_hand_file`; `name` stands for the file.
    """
    found, looks, count = {}, {}, None
    for field, (pattern, tail) in _KEYS.items():
        keys = [pattern.format(hand) for hand in HANDS]
        present = [key for key in keys if key in arrays]
        if len(present) < len(keys) and (present or field == "vertices"):
            missing = next(key for key in keys if key not in arrays)
            raise InputError(f"{name}: array {missing!r} is missing; it has {', '.join(arrays) or 'none'}")
        if present:
            for key in keys:
                looks[key] = _check(arrays[key], (count, *tail), f"{name}: {key}")
                count = len(arrays[key])
            found[field] = tuple(arrays[key] for key in keys)
    intrinsics = _intrinsics(arrays.get("intrinsics"), count, name)
    for key in HANDS:
        extent = looks[key].extent
        size, large = float(np.median(extent)), extent > _LARGEST_M
        if not HAND_SIZE_M[0] <= size <= HAND_SIZE_M[1]:
            raise InputError(f"{name}: {key}: its hands are {size:.3g} long (median); metres are wanted")
        if large.any():
            raise InputError(
                f"{name}: {key}: sample {large.argmax()} is {extent[large.argmax()]:.3g} long, "
                f"{large.sum()} such samples; metres are wanted"
            )
    read = {"intrinsics"} | {pattern.format(hand) for pattern, _ in _KEYS.values() for hand in HANDS}
    return HandFile(
        name=name,
        **found,
        nearest=np.minimum(*(looks[key].least for key in HANDS)),
        intrinsics=intrinsics,
        ignored=tuple(key for key in arrays if key not in read),
    )


class _Look(NamedTuple):
    """Of each sample `[N]`: its greatest extent along an axis, and the least of its last coordinate."""

    extent: np.ndarray
    least: np.ndarray


def _check(array: Array, shape: tuple, name: str) -> _Look:
    """Refuse another shape (None: any length but 0), a type that is no number, and NaN or infinity."""
    expected = [length if length is not None else "N" for length in shape]
    matches = len(array.shape) == len(shape) and all(
        length in (None, found) for length, found in zip(shape, array.shape, strict=True)
    )
    if not matches or not array.size:
        raise InputError(f"{name}: shape {list(array.shape)}; expected {expected}".replace("'", ""))
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: holds {array.dtype}; numbers are wanted")
    looks = []
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        points = chunk.reshape(len(chunk), -1, shape[-1])
        with np.errstate(invalid="ignore"):
            looks.append((np.isfinite(points).all((1, 2)), np.ptp(points, 1).max(1), points[..., -1].min(1)))
    finite, extent, least = (np.concatenate(part) for part in zip(*looks, strict=True))
    if not finite.all():
        raise InputError(
            f"{name}: sample {finite.argmin()} is NaN or infinite; {(~finite).sum()} such samples"
        )
    return _Look(extent, least)


def _intrinsics(array: Array | None, count: int, name: str) -> np.ndarray | None:
    """K of every sample."""
    if array is None:
        return None
    shape = (3, 3) if array.ndim == 2 else (count, 3, 3)
    _check(array, shape, f"{name}: intrinsics")
    array = array[:]
    bad = (array[..., 2, :] != (0, 0, 1)).any(-1) | (array[..., [0, 1], [0, 1]] == 0).any(-1)
    if bad.any():
        raise InputError(
            f"{name}: intrinsics: sample {bad.argmax()} is no camera matrix; [[fx, s, cx], [0, fy, cy], "
            "[0, 0, 1]] in px is wanted"
        )
    return np.broadcast_to(array, (count, 3, 3))
