"""The store: crops, meshes and cameras of one split in memory-mapped Arrow files.

A folder with `store.json` (written last: a store without it is not whole), `part-00000.arrow` …,
`counts.csv` and `unreadable.csv`.
"""

import mmap
import zlib
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import simplejpeg
import torch
from torch import Tensor

from handdgcl.config import Data
from handdgcl.data.batch import RawBatch
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, VERTEX_COUNT

MANIFEST = "store.json"
TABLE_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file_name", pa.string()),
        ("capture", pa.int64()),
        ("subject", pa.int64()),
        ("seq_name", pa.string()),
        ("camera", pa.string()),
        ("frame", pa.int64()),
        ("iou", pa.float32()),
    ]
)
SCHEMA = pa.schema(
    [
        *TABLE_SCHEMA,
        ("intrinsics", pa.list_(pa.float32(), 9)),
        ("vertices", pa.list_(pa.float32(), len(HANDS) * VERTEX_COUNT * 3)),
        ("jpeg", pa.binary()),
    ]
)

Indices = Sequence[int] | np.ndarray | Tensor
_PREPARE = "prepare the data again (stage `data`)"


class Manifest(msgspec.Struct):
    """store.json."""

    fingerprint: str  # of what the store holds: `inputs`, and which images could not be read
    image_size: int  # S
    rows: list[int]  # samples of each part
    checksums: list[int]  # of each part's bytes
    hands: str  # `Hands.fingerprint` of the models that posed them
    fill: float  # this and the next as in `Data`
    min_brightness: float
    inputs: str  # of all that the store depends on


def part_name(part: int) -> str:
    """File name of a part."""
    return f"part-{part:05d}.arrow"


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return zlib.crc32(content)


def read_manifest(folder: str | Path) -> Manifest:
    """store.json of a store.

    Raises:
        InputError: the folder is missing or no whole store.
    """
    path = Path(folder) / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: missing, so this is no whole store; {_PREPARE}") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}; {_PREPARE}") from error


def check_hands(folder: Path, hands: Hands) -> None:
    """A store's vertices are of these hand models.

    Raises:
        InputError: they are of others.
    """
    if read_manifest(folder).hands != hands.fingerprint():
        raise InputError(f"{folder}: made with other hand models than those of data.hands; {_PREPARE}")


def check_crop(folder: Path, data: Data) -> None:
    """A store's images are cut as these parameters say.

    Raises:
        InputError: they are cut otherwise.
    """
    manifest = read_manifest(folder)
    for name in ("image_size", "fill", "min_brightness"):
        if (was := getattr(manifest, name)) != (now := getattr(data, name)):
            raise InputError(
                f"{folder}: prepared with data.{name} = {was!r}, not {now!r}; {_PREPARE}, or set it back"
            )


class Store:
    """Random access to the samples of one split. Pickling it sends the path; the copy maps it anew.

    Args:
        folder: what `prepare_split` wrote.
        decoded: decode all images now and keep them in memory (a byte for each pixel and channel).

    Attributes:
        size: side S of the crops in px.
        channels: of an image.

    Raises:
        InputError: the store is missing or damaged.
    """

    channels = 3

    def __init__(self, folder: str | Path, *, decoded: bool = False):
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        self.size = manifest.image_size
        self._parts = [_open(self.folder / part_name(i), rows) for i, rows in enumerate(manifest.rows)]
        self._starts = np.concatenate([[0], np.cumsum(manifest.rows, dtype=np.int64)])
        columns = lambda name, *shape: [_values(part, name).reshape(-1, *shape) for part in self._parts]
        self._vertices = columns("vertices", len(HANDS), VERTEX_COUNT, 3)
        self._intrinsics = np.concatenate(columns("intrinsics", 3, 3))
        self.decoded, self._images = decoded, None
        if decoded:
            self._images = self.images(range(len(self))).permute(0, 2, 3, 1).numpy()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def check(self) -> "Store":
        """Read all parts once, the store itself.

        Raises:
            InputError: one has other bytes than were written; its file is named.
        """
        for part, written in enumerate(read_manifest(self.folder).checksums):
            path = self.folder / part_name(part)
            if checksum(path) != written:
                raise InputError(f"{path}: damaged since it was written; {_PREPARE}")
        return self

    def __reduce__(self):
        return partial(type(self), decoded=self.decoded), (self.folder,)

    def batch(self, indices: Indices) -> RawBatch:
        """Samples by position in the store, `[B]`, in any order."""
        return RawBatch(
            image=self.images(indices),
            vertices=self.vertices(indices),
            intrinsics=self.intrinsics(indices),
            index=torch.as_tensor(self._positions(indices)),
        )

    __getitems__ = batch  # what a DataLoader asks for

    def vertices(self, indices: Indices) -> Tensor:
        """`[B, H, V, 3]` float32 metres, camera frame."""
        out = np.empty((len(indices), len(HANDS), VERTEX_COUNT, 3), np.float32)
        for k, (part, row) in enumerate(self._locate(indices)):
            out[k] = self._vertices[part][row]
        return torch.from_numpy(out)

    def intrinsics(self, indices: Indices) -> Tensor:
        """`[B, 3, 3]` float32, K of the crop, px."""
        return torch.from_numpy(self._intrinsics[self._positions(indices)])

    def images(self, indices: Indices) -> Tensor:
        """`[B, 3, S, S]` uint8, RGB, channels last in memory."""
        if self._images is not None:
            return torch.from_numpy(self._images[self._positions(indices)]).permute(0, 3, 1, 2)
        out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        for k, (part, row) in enumerate(self._locate(indices)):
            jpeg = memoryview(self._parts[part]["jpeg"][row].as_buffer()).cast("B")
            try:
                simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out[k])
            except ValueError as error:
                path = self.folder / part_name(part)
                raise InputError(f"{path}: image of row {row}: {error}; {_PREPARE}") from error
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    @cached_property
    def table(self) -> pd.DataFrame:
        """image_id, file_name, capture, subject, seq_name, camera, frame and iou of each sample.

        `iou` is `crop.hand_overlap`: the hands' common area over that of the smaller one's mask.
        """
        parts = [part.select(TABLE_SCHEMA.names) for part in self._parts]
        return pa.Table.from_batches(parts, TABLE_SCHEMA).to_pandas()

    def _positions(self, indices: Indices) -> np.ndarray:
        indices = np.asarray(indices, dtype=np.int64)
        if ((indices < 0) | (indices >= len(self))).any():
            raise IndexError(f"{self.folder}: indices {indices} are not all within 0 … {len(self) - 1}")
        return indices

    def _locate(self, indices: Indices) -> list[tuple[int, int]]:
        """(part, row) of each index."""
        positions = self._positions(indices)
        parts = np.searchsorted(self._starts, positions, side="right") - 1
        return list(zip(parts.tolist(), (positions - self._starts[parts]).tolist(), strict=True))


def _open(path: Path, rows: int) -> pa.RecordBatch:
    """The one record batch of a part. The map outlives its file handle, so that many parts cost none."""
    try:
        with pa.memory_map(str(path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: missing or damaged: {error}; {_PREPARE}") from error
    if batch.num_rows != rows or not batch.schema.equals(SCHEMA):
        raise InputError(f"{path}: not the part that {MANIFEST} lists; {_PREPARE}")
    return batch


def _values(batch: pa.RecordBatch, column: str) -> np.ndarray:
    """A fixed-size list column, flat, without a copy."""
    return batch[column].flatten().to_numpy(zero_copy_only=True)
