"""Plain arrays of an .npz file, with limits before anything is read into memory."""

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from handdgcl.files import InputError, regular

MOST_RATIO = 200  # bytes that a large compressed one may unfold to; real coordinates have less than 20
LARGE = 2**26  # bytes: a camera that is repeated for each sample is small, and unfolds far


def read_arrays(path: str | Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The wanted arrays that a file has, and the names of all that else is in it, which is not read.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no .npz, a wanted array is damaged, holds objects or unfolds without limit.
    """
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            arrays = {name: _read(archive, members[name]) for name in wanted if name in members}
        return arrays, tuple(name for name in members if name not in wanted)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes make zip and NumPy's header raise nearly any type
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{path}: not an .npz of plain arrays, or truncated ({reason}); write it with numpy.savez"
        ) from error


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, once its header and the archive agree on its size."""
    if info.file_size > max(LARGE, MOST_RATIO * info.compress_size):
        raise ValueError(f"{info.filename}: unfolds more than MOST_RATIO = {MOST_RATIO} times")
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, _, kind = header(stream)
        if kind.hasobject:
            raise ValueError(f"{info.filename}: holds Python objects, not numbers")
        room = info.file_size - stream.tell()
        if any(length < 0 for length in shape) or int(np.prod(shape, dtype=object)) * kind.itemsize != room:
            raise ValueError(f"{info.filename}: its header says shape {shape}, which its bytes do not fill")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
