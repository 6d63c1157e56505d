"""The arrays of a pickle, without running it.

A pickle is a program. The licensed MANO files are pickles of NumPy, SciPy and chumpy objects, and chumpy
does not import on current Python. So no name in a file is imported or called: each class that these files
hold has a stand-in here that keeps what it is given, any other name is refused, and an array is made of a
stand-in by `dense`, from plain numbers alone. NumPy's own classes would follow pointers that a file chooses.
"""

import io
import math
import pickle
import re
from collections.abc import Callable
from operator import index
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy import sparse

MOST_BYTES = 2**26  # of a file; MANO's have 4 MB
DEEPEST = 8  # chumpy objects inside one another
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|\?)")  # NumPy's names of plain number types


class RefusedError(Exception):
    """The file asks for a class or function that no MANO file has; the name is the message."""


class _Standin:
    """Keeps what a pickle gives an object, computes nothing."""

    def __init__(self, *arguments: object):
        self.arguments, self.state = arguments, None

    def __setstate__(self, state: object):
        self.state = state


class _Type(_Standin):
    """`numpy.dtype`."""

    def number(self) -> np.dtype:
        name = self.arguments[0]
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
            raise ValueError("an array of something else than numbers")
        order = self.state[1] if isinstance(self.state, tuple) else "="
        found = np.dtype(name)
        return found.newbyteorder(">") if order in (">", b">") else found


class _Array(_Standin):
    """`numpy.ndarray` and `numpy.matrix`: (version, shape, type, Fortran order, bytes)."""

    def dense(self, depth: int) -> np.ndarray:
        *_, shape, kind, fortran, content = self.state
        return _numbers(content, kind, shape, "F" if fortran else "C")


class _Buffer(_Standin):
    """`numpy._frombuffer`, an array since protocol 5: (bytes, type, shape, order)."""

    def dense(self, depth: int) -> np.ndarray:
        content, kind, shape, order = self.arguments
        return _numbers(content, kind, shape, "F" if order == "F" else "C")


class _Scalar(_Standin):
    """`numpy.scalar`: (type, bytes)."""

    def dense(self, depth: int) -> np.ndarray:
        kind, content = self.arguments
        return _numbers(content, kind, (), "C")


class _Sparse(_Standin):
    """A matrix of `scipy.sparse`."""

    make: type

    def dense(self, depth: int) -> np.ndarray:
        shape = tuple(map(index, self.state["_shape"]))
        if math.prod(shape) > MOST_BYTES:
            raise ValueError(
                f"a sparse matrix of {math.prod(shape)} entries, more than MOST_BYTES = {MOST_BYTES}"
            )
        return self.matrix(shape, lambda part: dense(part, depth + 1)).toarray()

    def matrix(self, shape: tuple[int, ...], read: Callable[[object], np.ndarray]) -> sparse.spmatrix:
        parts = [read(self.state[name]) for name in ("data", "indices", "indptr")]
        matrix = self.make(tuple(parts), shape=shape)
        matrix.check_format(full_check=True)  # indices out of range would be read as memory
        return matrix


class _Csc(_Sparse):
    """`csc_matrix`, `csc_array`."""

    make = sparse.csc_matrix


class _Csr(_Sparse):
    """`csr_matrix`, `csr_array`."""

    make = sparse.csr_matrix


class _Coo(_Sparse):
    """`coo_matrix`, `coo_array`; newer ones hold `coords` instead of row and col."""

    def matrix(self, shape: tuple[int, ...], read: Callable[[object], np.ndarray]) -> sparse.spmatrix:
        row, column = self.state.get("coords") or (self.state["row"], self.state["col"])
        # The constructor refuses places out of range.
        return sparse.coo_matrix((read(self.state["data"]), (read(row), read(column))), shape=shape)


class _Ch(_Standin):
    """`chumpy.ch.Ch`: an array `x`."""

    def dense(self, depth: int) -> np.ndarray:
        return dense(self.state["x"], depth + 1)


class _Select(_Standin):
    """`chumpy.reordering.Select`: entries `idxs` of the flattened `a`, in a given shape."""

    def dense(self, depth: int) -> np.ndarray:
        picked = dense(self.state["a"], depth + 1).ravel()[dense(self.state["idxs"], depth + 1)]
        return picked.reshape(self.state.get("preferred_shape", picked.shape))


def dense(value: object, depth: int = 0) -> np.ndarray:
    """The array that a stand-in of this module stands for.

    Raises:
        LookupError, TypeError, ValueError: it holds no numbers, or its parts do not fit together.
    """
    if depth > DEEPEST:
        raise ValueError(f"objects inside one another, more than DEEPEST = {DEEPEST}")
    if isinstance(value, np.ndarray | int | float):
        return np.asarray(value)
    if not hasattr(value, "dense"):
        raise TypeError(f"a {type(value).__name__.lstrip('_').lower()} instead of an array")
    return value.dense(depth)


def _numbers(content: object, kind: object, shape: object, order: str) -> np.ndarray:
    """An array of plain numbers from its bytes."""
    if not isinstance(kind, _Type):
        raise TypeError("an array without a type")
    if isinstance(content, str):  # Python 2's bytes
        content = content.encode("latin1")
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"an array made of a {type(content).__name__}")
    return np.frombuffer(content, kind.number()).reshape(shape, order=order)


def _new_object(kind: type, *_: object) -> _Standin:
    """`copy_reg._reconstructor`, protocol 0's way to make an object without calling it."""
    if not (isinstance(kind, type) and issubclass(kind, _Standin)):
        raise pickle.UnpicklingError("asks for an object of no class of these files")
    return kind()


def _names() -> dict[tuple[str, str], object]:
    """What a file may ask for, and what it gets."""
    found = {("numpy", "ndarray"): _Array, ("numpy", "matrix"): _Array, ("numpy", "dtype"): _Type}
    found |= {("numpy.matrixlib.defmatrix", "matrix"): _Array, ("collections", "OrderedDict"): dict}
    for module in ("numpy.core", "numpy._core"):
        found[f"{module}.multiarray", "_reconstruct"] = _Array
        found[f"{module}.multiarray", "scalar"] = _Scalar
        found[f"{module}.numeric", "_frombuffer"] = _Buffer
    for short, kind in (("csc", _Csc), ("csr", _Csr), ("coo", _Coo)):
        for module in (f"scipy.sparse.{short}", f"scipy.sparse._{short}"):
            found |= {(module, f"{short}_matrix"): kind, (module, f"{short}_array"): kind}
    found |= {("chumpy.ch", "Ch"): _Ch, ("chumpy.reordering", "Select"): _Select}
    for module in ("__builtin__", "builtins"):  # chumpy's bookkeeping
        found |= {(module, "set"): set, (module, "object"): object}
    for module in ("copy_reg", "copyreg"):
        found[module, "_reconstructor"] = _new_object
    # how protocols 0 to 2 of Python 3 write bytes
    found["_codecs", "encode"] = lambda text, encoding: text.encode("latin1")
    return found


_ALLOWED = _names()


class _Unpickler(pickle._Unpickler):
    """Resolves the names of `_ALLOWED` and no others.

    Of the two in the standard library the one in Python: the other sets memory aside for as much as an
    instruction says, before it looks whether the file has it.
    """

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedError(f"{module}.{name}") from None

    def load_bytearray8(self) -> None:  # as many bytes as there are
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def load(path: Path) -> object:
    """A pickle's objects, as stand-ins where they are no plain values.

    Raises:
        RefusedError: it asks for a name that is not allowed.
        ValueError: it is larger than any hand model.
        Exception: nearly any type, where the bytes are damaged.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{size} bytes, more than MOST_BYTES = {MOST_BYTES}")
    if not path.is_file():
        raise ValueError("no file")
    return _Unpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
