"""The embedded hands' arrays, and a writer of the form in which MANO is distributed.

That form is a Python-2 pickle which holds SciPy and chumpy objects.
"""

import pickle
import struct
from importlib import resources
from pathlib import Path
from types import FunctionType
from typing import ClassVar

import numpy as np
from scipy import sparse

from handdgcl.hands.mano_files import read_model

OPEN_HAND = resources.files("handdgcl.hands") / "open_hand"

PYTHON2_MODULES = {
    "builtins": "__builtin__",
    "copyreg": "copy_reg",
    "numpy._core.multiarray": "numpy.core.multiarray",
}


class Python2Pickler(pickle._Pickler):
    """Writes what cPickle of Python 2 wrote: its module names, and `str` as bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, value):
        data = value if isinstance(value, bytes) else value.encode("latin1")
        if self.proto == 0:
            self.write(b"S" + repr(data)[1:].encode() + b"\n")
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    def save_global(self, value, name=None):
        module = PYTHON2_MODULES.get(value.__module__, value.__module__)
        self.write(f"c{module}\n{name or value.__name__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str
    dispatch[FunctionType] = save_global


def open_hand(hand: str = "right") -> dict:
    return read_model(OPEN_HAND / f"open_hand_{hand}.npz")


def python2_object(module: str, name: str, state: dict):
    """An object whose class is `module.name`, without that module."""
    value = type(name, (), {"__module__": module})()
    value.__dict__.update(state)
    return value


def chumpy_array(x: np.ndarray):
    return python2_object(
        "chumpy.ch", "Ch", {"x": x, "_dirty_vars": {"x"}, "_itr": None, "_make_dense": False}
    )


def chumpy_select(x: np.ndarray, shape: tuple):
    """The last `shape[-1]` of the last axis of a longer array; MANO's shape space is cut in this manner."""
    longer = np.concatenate([np.full_like(x, 9.0), x], axis=-1)
    idxs = np.arange(longer.size).reshape(longer.shape)[..., -shape[-1] :].ravel()
    state = {"a": chumpy_array(longer), "idxs": idxs, "preferred_shape": shape, "_dirty_vars": set()}
    return python2_object("chumpy.reordering", "Select", state)


def scipy_csc(dense: np.ndarray):
    m = sparse.csc_matrix(dense)
    state = {"_shape": m.shape, "data": m.data, "indices": m.indices, "indptr": m.indptr, "maxprint": 50}
    return python2_object("scipy.sparse.csc", "csc_matrix", {**state, "_has_sorted_indices": True})


def licensed(model: dict) -> dict:
    """The objects of MANO_RIGHT.pkl for the arrays of `model`."""
    raw = {k: v.astype(np.uint32 if v.dtype.kind == "i" else np.float64) for k, v in model.items()}
    raw["kintree_table"] = model["kintree_table"]
    raw["J_regressor"] = scipy_csc(raw["J_regressor"])
    raw["shapedirs"] = chumpy_select(raw["shapedirs"], model["shapedirs"].shape)
    return {**raw, "bs_style": "lbs", "bs_type": "lrotmin"}


def write_pickle(path: Path, value: object, protocol: int = 2) -> Path:
    with path.open("wb") as file:
        Python2Pickler(file, protocol).dump(value)
    return path
