"""Hands of any method in one file: what `handdgcl score` reads.

An .npz with N pairs, the same pairs in the same order on both sides:

| array | shape | |
|---|---|---|
| `left`, `right` | `[N, 778, 3]` | vertices, metres, camera axes (x right, y down, z forward) |
| `joints_left`, `joints_right` | `[N, 21, 3]` | optional; default: regressed from the vertices |
| `intrinsics` | `[3, 3]` or `[N, 3, 3]` | optional, truth: K in px, for vertices before the camera |
| `left_px`, `right_px` | `[N, 778, 2]` | optional, prediction: vertices in the image, by its own camera |
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handdgcl.errors import InputError
from handdgcl.hands.topology import HANDS, JOINT_COUNT, VERTEX_COUNT

HAND_SIZE_M = (0.04, 0.5)  # extent of a plausible hand: tells metres from millimetres and unit bones
_KEYS = {
    "vertices": ("{}", (VERTEX_COUNT, 3)),
    "joints": ("joints_{}", (JOINT_COUNT, 3)),
    "pixels": ("{}_px", (VERTEX_COUNT, 2)),
}


@dataclass(frozen=True)
class HandFile:
    """The checked contents of one file; arrays of (left, right).

    Attributes:
        name: the file, for messages.
        vertices: `[N, 778, 3]` of each hand, metres.
        joints: `[N, 21, 3]` of each hand, or None.
        pixels: `[N, 778, 2]` of each hand, or None.
        intrinsics: `[N, 3, 3]`, or None.
        ignored: arrays of the file that mean nothing here.
    """

    name: str
    vertices: tuple[np.ndarray, ...]
    joints: tuple[np.ndarray, ...] | None = None
    pixels: tuple[np.ndarray, ...] | None = None
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
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give an .npz with left and right, [N, 778, 3]") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not an .npz of plain arrays ({error}); write it with numpy.savez"
        ) from error
    return check_arrays(arrays, name=str(path))


def check_arrays(arrays: dict[str, np.ndarray], *, name: str) -> HandFile:
    """The same from arrays in memory.

    Raises:
        InputError: as `read_hand_file`; `name` stands for the file.
    """
    found, count = {}, None
    for field, (pattern, tail) in _KEYS.items():
        keys = [pattern.format(hand) for hand in HANDS]
        present = [key for key in keys if key in arrays]
        if len(present) < len(keys) and (present or field == "vertices"):
            missing = next(key for key in keys if key not in arrays)
            raise InputError(f"{name}: array {missing!r} is missing; it has {', '.join(arrays) or 'none'}")
        if present:
            for key in keys:
                _check_shape(arrays[key], (count, *tail), f"{name}: {key}")
                count = len(arrays[key])
            found[field] = tuple(arrays[key] for key in keys)
    intrinsics = _intrinsics(arrays.get("intrinsics"), count, name)
    for key, array in zip(HANDS, found["vertices"], strict=True):
        size = float(np.median(np.ptp(array, axis=1).max(-1)))
        if not HAND_SIZE_M[0] <= size <= HAND_SIZE_M[1]:
            raise InputError(f"{name}: {key}: its hands are {size:.3g} long (median); metres are wanted")
    read = {"intrinsics"} | {pattern.format(hand) for pattern, _ in _KEYS.values() for hand in HANDS}
    return HandFile(
        name=name, **found, intrinsics=intrinsics, ignored=tuple(key for key in arrays if key not in read)
    )


def _check_shape(array: np.ndarray, shape: tuple, name: str) -> None:
    """Refuse another shape (None: any length but 0), a type that is no number, and NaN or infinity."""
    expected = [length if length is not None else "N" for length in shape]
    matches = len(array.shape) == len(shape) and all(
        length in (None, found) for length, found in zip(shape, array.shape, strict=True)
    )
    if not matches or not array.size:
        raise InputError(f"{name}: shape {list(array.shape)}; expected {expected}".replace("'", ""))
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: holds {array.dtype}; numbers are wanted")
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
    if bad.any():
        raise InputError(f"{name}: sample {bad.argmax()} is NaN or infinite; {bad.sum()} such samples")


def _intrinsics(array: np.ndarray | None, count: int, name: str) -> np.ndarray | None:
    """K of every sample."""
    if array is None:
        return None
    shape = (3, 3) if array.ndim == 2 else (count, 3, 3)
    _check_shape(array, shape, f"{name}: intrinsics")
    bad = (array[..., 2, :] != (0, 0, 1)).any(-1) | (array[..., [0, 1], [0, 1]] == 0).any(-1)
    if bad.any():
        raise InputError(
            f"{name}: intrinsics: sample {bad.argmax()} is no camera matrix; [[fx, s, cx], [0, fy, cy], "
            "[0, 0, 1]] in px is wanted"
        )
    return np.broadcast_to(array, (count, 3, 3))
