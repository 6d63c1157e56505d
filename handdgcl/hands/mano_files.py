"""Reading one hand model file: the embedded open hand (.npz) or a licensed MANO file (.pkl).

The licensed files are Python-2 pickles of NumPy, SciPy and chumpy objects. A pickle is a program, and
chumpy does not import on current Python, so nothing in a file is imported or called: the few array
types these files hold are replaced by stand-ins of this module, and any other name is refused.
"""

import pickle
from pathlib import Path

import numpy as np
from scipy import sparse

from handdgcl.files import InputError
from handdgcl.hands.topology import FACE_COUNT, HANDS, MANO_JOINTS, RIGHT, SHAPE_COUNT, VERTEX_COUNT

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
    _check_side(path, model)
    return model


def _read(path: Path) -> dict:
    """The file's objects by name, before they are checked."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".npz":
                with np.load(file, allow_pickle=False) as data:
                    return dict(data)
            raw = _Unpickler(file, path).load()
    except FileNotFoundError:
        remedy = "install the package again, it ships this file"
        if path.suffix != ".npz":
            remedy = f"{_SOURCE} into {path.parent}, or use the open hand (data.hands: open)"
        raise InputError(f"{path}: no such hand model; {remedy}") from None
    except InputError:
        raise
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


class _State:
    """Stand-in for a pickled SciPy or chumpy object: keeps its attributes, computes nothing."""

    def __init__(self, *_):
        self.state = {}

    def __setstate__(self, state: dict):
        self.state = dict(state)


class _Csc(_State):
    """`scipy.sparse.csc_matrix`."""

    kind = sparse.csc_matrix

    def dense(self) -> np.ndarray:
        s = self.state
        matrix = self.kind((s["data"], s["indices"], s["indptr"]), shape=s["_shape"])
        matrix.check_format(full_check=True)  # indices out of range would be read as memory
        return matrix.toarray()


class _Csr(_Csc):
    """`scipy.sparse.csr_matrix`."""

    kind = sparse.csr_matrix


class _Ch(_State):
    """`chumpy.ch.Ch`: an array `x`."""

    def dense(self) -> np.ndarray:
        return _dense(self.state["x"])


class _Select(_State):
    """`chumpy.reordering.Select`: entries `idxs` of the flattened `a`, in a given shape."""

    def dense(self) -> np.ndarray:
        picked = _dense(self.state["a"]).ravel()[_dense(self.state["idxs"])]
        return picked.reshape(self.state.get("preferred_shape", picked.shape))


def _dense(value: object) -> np.ndarray:
    return value.dense() if isinstance(value, _State) else np.asarray(value)


def _empty_array(*_) -> np.ndarray:
    """`numpy…_reconstruct` makes an array that the next instruction fills."""
    return np.empty(0, np.int8)


def _new_object(kind: type, *_) -> _State:
    """`copy_reg._reconstructor`, protocol 0's way to make an object without calling it."""
    if not issubclass(kind, _State):
        raise pickle.UnpicklingError(f"cannot make a {kind.__name__}")
    return kind()


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(module, "_reconstruct"): _empty_array for module in _NUMPY},
    **{(module, "scalar"): np._core.multiarray.scalar for module in _NUMPY},
    **{(f"scipy.sparse.{module}", "csc_matrix"): _Csc for module in ("csc", "_csc")},
    **{(f"scipy.sparse.{module}", "csr_matrix"): _Csr for module in ("csr", "_csr")},
    ("chumpy.ch", "Ch"): _Ch,
    ("chumpy.reordering", "Select"): _Select,
    **{(module, "set"): set for module in ("__builtin__", "builtins")},  # chumpy's bookkeeping
    **{(module, "object"): object for module in ("__builtin__", "builtins")},
    **{(module, "_reconstructor"): _new_object for module in ("copy_reg", "copyreg")},
}


class _Unpickler(pickle.Unpickler):
    """Resolves the names of `_ALLOWED` and no others."""

    def __init__(self, file, path: Path):
        super().__init__(file, encoding="latin1")  # Python 2 strings hold the arrays' bytes
        self.path = path

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise InputError(
                f"{self.path}: refused before running it: the file asks for {module}.{name}, which is no "
                f"array type of a MANO file; {_SOURCE} into {self.path.parent}"
            ) from None


def _array(path: Path, key: str, raw: dict) -> np.ndarray:
    """One array, dense, finite, of the expected shape and type."""
    body = np.shape(raw.get("v_template", ()))[:1] == (_SMPL_H_VERTICES,) or "hands_meanl" in raw
    kind = "a body model (SMPL or SMPL-H), not a hand" if body else "not a MANO hand"
    remedy = f"so it is {kind}; {_SOURCE} into {path.parent}"
    if key not in raw:
        raise InputError(f"{path}: no {key!r} in it, {remedy}")
    try:
        value = _dense(raw[key]).astype(np.int64 if key in _INTEGERS else np.float32)
    except (LookupError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise _damaged(path, f"{key!r}: {error}") from error
    if value.shape != _SHAPES[key]:
        shapes = f"{list(value.shape)} instead of {list(_SHAPES[key])}"
        raise InputError(f"{path}: {key!r} has shape {shapes}, {remedy}")
    if not np.isfinite(value).all():
        raise _damaged(path, f"{key!r} holds values that are not finite")
    return value


def _check_side(path: Path, model: dict) -> None:
    """At rest MANO's right fingers point to -x and the left ones to +x: is it the hand of its name?"""
    wrist, middle = (model["J_regressor"] @ model["v_template"])[[0, MANO_JOINTS.index("middle1")]]
    found = HANDS[RIGHT if middle[0] < wrist[0] else 1 - RIGHT]
    named = [hand for hand in HANDS if hand in path.stem.lower()]
    if len(named) == 1 and found not in named:
        raise InputError(f"{path}: holds a {found} hand; exchange the two files, or download them again")
