"""The arrays of an .npz, read some rows at a time: a test set's hands are larger than a machine's memory."""

import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from handdgcl.errors import InputError

DAMAGE = (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Rows:
    """One array on disk, stored or deflated; `rows[start:stop]` reads these and keeps nothing.

    Reading on costs what it reads; going back starts the member anew.

    Attributes:
        shape, dtype: of the whole array.
    """

    def __init__(self, stream: zipfile.ZipExtFile, name: str, shape: tuple[int, ...], dtype: np.dtype):
        """A member whose header has been read; `name` stands in errors."""
        self.shape, self.dtype = shape, dtype
        self._stream, self._start, self._name = stream, stream.tell(), name

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some rows in a row, read-only.

        Raises:
            InputError: the file is damaged there.
        """
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError(f"rows are read one after the other, not in steps of {step}")
        shape = (max(stop - start, 0), *self.shape[1:])
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            self._stream.seek(self._start + start * width)
            content = self._stream.read(shape[0] * width)
            if stop == len(self):
                self._stream.read(1)  # the checksum is looked at where the member ends
            return np.frombuffer(content, self.dtype, count=math.prod(shape)).reshape(shape)
        except DAMAGE as error:
            raise InputError(f"{self._name}: damaged ({error}); write it again with numpy.savez") from error


def open_npz(path: str | Path) -> dict[str, np.ndarray | Rows]:
    """All arrays of a file by name; one in Fortran's order has no rows on disk and is read whole.

    Raises:
        FileNotFoundError, or one of `DAMAGE`: no file of plain arrays.
    """
    with zipfile.ZipFile(path) as file:  # its members stay open
        return {name.removesuffix(".npy"): _open(file, name) for name in file.namelist()}


def _open(file: zipfile.ZipFile, member: str) -> np.ndarray | Rows:
    stream = file.open(member)
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"{member}: version {version} of the format")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError(f"{member} holds Python objects")
    if fortran and len(shape) > 1:
        with file.open(member) as whole:
            return npy.read_array(whole, allow_pickle=False)
    return Rows(stream, f"{file.filename}: {member}", shape, dtype)
