"""Reading one hand model file: the embedded open hand (.npz) or a licensed MANO file (.pkl).

The licensed files are pickles of Python 2; `hands.pickled` reads their arrays without running them.
"""

from pathlib import Path

import numpy as np

from handdgcl.files import InputError
from handdgcl.hands import pickled
from handdgcl.hands.arrays import read_arrays
from handdgcl.hands.topology import (
    FACE_COUNT,
    HAND_SIZE_M,
    HANDS,
    MANO_JOINTS,
    MANO_PARENTS,
    RIGHT,
    SHAPE_COUNT,
    VERTEX_COUNT,
)

_JOINTS = len(MANO_JOINTS)
_ANGLES = 3 * (_JOINTS - 1)
_SHAPES = {  # what smplx needs of a hand model, Romero et al. 2017
    "v_template": (VERTEX_COUNT, 3),
    "f": (FACE_COUNT, 3),
    "weights": (VERTEX_COUNT, _JOINTS),
    "J_regressor": (_JOINTS, VERTEX_COUNT),
    "shapedirs": (VERTEX_COUNT, 3, SHAPE_COUNT),
    "posedirs": (VERTEX_COUNT, 3, 9 * (_JOINTS - 1)),
    "kintree_table": (2, _JOINTS),
    "hands_components": (_ANGLES, _ANGLES),
    "hands_mean": (_ANGLES,),
}
_INTEGERS = ("f", "kintree_table")
_SMPL_H_VERTICES = 6890
_SOURCE = (
    "download MANO (free for research) from https://mano.is.tue.mpg.de and put MANO_LEFT.pkl and "
    "MANO_RIGHT.pkl of its models folder"
)


def read_model(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of one MANO-format file.

    Args:
        path: `.npz`, or `.pkl` as distributed. LEFT or RIGHT in the name says which hand it must be.

    Returns:
        Dense arrays by name, float32 or int64: `v_template [V,3]` and `shapedirs [V,3,10]` in metres,
        `posedirs [V,3,135]`, `weights [V,16]`, `J_regressor [16,V]`, `f [1538,3]`, `kintree_table [2,16]`,
        `hands_components [45,45]`, `hands_mean [45]` in radians.

    Raises:
        InputError: the file is missing, damaged, holds anything but arrays, or is not the hand its name
            says; the message says what to do.
    """
    path = Path(path)
    raw = _read(path)
    model = {key: _array(path, key, raw) for key in _SHAPES}
    if model["f"].min() < 0 or model["f"].max() >= VERTEX_COUNT:
        raise _damaged(path, "'f' names vertices that do not exist")
    _check_size(path, model)
    _check_side(path, model)
    return model


def _read(path: Path) -> dict:
    """The file's objects by name, before they are checked."""
    try:
        if path.suffix == ".npz":
            return read_arrays(path, _SHAPES)[0]
        raw = pickled.load(path)
    except FileNotFoundError:
        remedy = "install the package again, it ships this file"
        if path.suffix != ".npz":
            remedy = f"{_SOURCE} into {path.parent}, or use the open hand (data.hands: open)"
        raise InputError(f"{path}: no such hand model; {remedy}") from None
    except InputError:
        raise
    except pickled.RefusedError as error:
        raise InputError(
            f"{path}: refused before running it: the file asks for {error}, which is no array type of a MANO "
            f"file; {_SOURCE} into {path.parent}"
        ) from None
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error
    except Exception as error:  # damaged bytes make an unpickler raise nearly any type
        raise _damaged(path, error) from error
    if not isinstance(raw, dict):
        raise _damaged(path, f"it holds a {type(raw).__name__}")
    return raw


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(
        f"{path}: truncated, or not a hand model file ({reason}); {_SOURCE} into {path.parent} again"
    )


def _array(path: Path, key: str, raw: dict) -> np.ndarray:
    """One array, dense, finite, of the expected shape and type."""
    body = "hands_meanl" in raw
    if key not in raw:
        raise _no_hand(path, f"no {key!r} in it", body=body)
    try:
        value = pickled.dense(raw[key]).astype(np.int64 if key in _INTEGERS else np.float32)
    except (LookupError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise _damaged(path, f"{key!r}: {error}") from error
    if value.shape != _SHAPES[key]:
        body |= key == "v_template" and value.shape[:1] == (_SMPL_H_VERTICES,)
        shapes = f"{list(value.shape)} instead of {list(_SHAPES[key])}"
        raise _no_hand(path, f"{key!r} has shape {shapes}", body=body)
    if not np.isfinite(value).all():
        raise _damaged(path, f"{key!r} holds values that are not finite")
    return value


def _no_hand(path: Path, reason: str, *, body: bool) -> InputError:
    kind = "a body model (SMPL or SMPL-H), not a hand" if body else "not a MANO hand"
    return InputError(f"{path}: {reason}, so it is {kind}; {_SOURCE} into {path.parent}")


def _check_size(path: Path, model: dict) -> None:
    """Metres, and the joints in the order that all else relies on."""
    size = np.ptp(model["v_template"], axis=0).max()
    if not HAND_SIZE_M[0] <= size <= HAND_SIZE_M[1]:
        raise InputError(f"{path}: 'v_template' is {size:.3g} long; a hand in metres is wanted")
    parents = model["kintree_table"][0, 1:]
    if (parents != MANO_PARENTS[1:]).any():
        raise InputError(
            f"{path}: 'kintree_table' names the parents {parents.tolist()}, which are not MANO's"
        )


def _check_side(path: Path, model: dict) -> None:
    """At rest MANO's right fingers point to -x and the left ones to +x: is it the hand of its name?"""
    wrist, middle = (model["J_regressor"] @ model["v_template"])[[0, MANO_JOINTS.index("middle1")]]
    found = HANDS[RIGHT if middle[0] < wrist[0] else 1 - RIGHT]
    named = [hand for hand in HANDS if hand in path.stem.lower()]
    if len(named) == 1 and found not in named:
        raise InputError(f"{path}: holds a {found} hand; exchange the two files, or download them again")
