"""One part of a store: some consecutive samples of a selection, from annotation to Arrow file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from handdgcl.atomic import replacing
from handdgcl.config import Data
from handdgcl.data.camera import crop_intrinsics, project, square_crop, world_to_camera
from handdgcl.data.interhand import IMAGE_COLUMNS, Selection
from handdgcl.data.overlap import hand_overlap
from handdgcl.data.store import SCHEMA, part_name
from handdgcl.data.warp import warp_crop
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, VERTEX_COUNT

PART_SIZE = 512  # samples; what a kill can cost each process
JPEG_QUALITY = 95
_MM_PER_M = 1000.0
_CHUNK = 32
_DROPPED = b"dropped"


class Dropped(msgspec.Struct):
    """What a part left out; kept in its file's metadata.

    Attributes:
        unreadable: (file name, reason) of each image that is missing or does not decode.
        dark: how many images are below `data.min_brightness`.
        behind: how many have a vertex that is not in front of the camera.
    """

    unreadable: list[tuple[str, str]]
    dark: int = 0
    behind: int = 0


@dataclass
class Job:
    """All that it takes to make any part.

    Attributes:
        selection: the samples.
        data: crop and limits.
        hands: the model of the fits, on the CPU.
        work: folder of the parts.
    """

    selection: Selection
    data: Data
    hands: Hands
    work: Path

    def __len__(self) -> int:
        return -(-len(self.selection) // PART_SIZE)

    def path(self, part: int) -> Path:
        """Where a part is written."""
        return self.work / part_name(part)

    def rows(self, part: int) -> range:
        """The selection's rows of a part."""
        return range(part * PART_SIZE, min((part + 1) * PART_SIZE, len(self.selection)))


def make_part(job: Job, part: int) -> Dropped:
    """Write one part, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    rows = job.rows(part)
    with _one_thread():
        vertices, points, intrinsics = _geometry(job, rows)
    kept, crops, jpegs, dropped = _crops(job, rows, vertices, points)
    table = job.selection.table.iloc[np.array(rows)[kept]]
    of_crop = [crop_intrinsics(k, crop) for k, crop in zip(intrinsics[kept], crops, strict=True)]
    columns = [pa.array(table[name], type=SCHEMA.field(name).type) for name in IMAGE_COLUMNS]
    columns += [
        pa.array(_overlap(job, points[kept], crops)),
        _fixed_lists(np.array(of_crop), "intrinsics"),
        _fixed_lists(vertices[kept], "vertices"),
        _binaries(jpegs),
    ]
    schema = SCHEMA.with_metadata({_DROPPED: msgspec.json.encode(dropped)})
    with (
        replacing(job.path(part)) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    return dropped


def is_part(path: Path) -> bool:
    """Whether there is a part, undamaged."""
    try:
        read_part(path)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, msgspec.DecodeError):
        return False
    return True


def read_part(path: Path) -> tuple[int, Dropped]:
    """How many samples a part holds and what it left out."""
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        return reader.get_batch(0).num_rows, msgspec.json.decode(
            reader.schema.metadata[_DROPPED], type=Dropped
        )


def _geometry(job: Job, rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices `[n, H, V, 3]` m in the camera frame, `[n, H, V, 2]` px of the full image, K `[n, 3, 3]`."""
    selection = job.selection
    fit, view = selection.fit[rows], selection.view[rows]
    frames, of_frame = np.unique(fit, return_inverse=True)  # several cameras see one frame
    rotation, position, intrinsics = (array[view] for array in selection.views)
    as_float = lambda array: torch.as_tensor(array, dtype=torch.float32)
    cameras = [as_float(array)[:, None] for array in (rotation, position / _MM_PER_M, intrinsics)]
    vertices = torch.empty(len(rows), len(HANDS), VERTEX_COUNT, 3)
    points = torch.empty(len(rows), len(HANDS), VERTEX_COUNT, 2)
    with torch.no_grad():
        world = job.hands(*(as_float(array[frames]) for array in selection.fits))
        for some in _chunks(len(rows)):
            turn, stand, k = (camera[some] for camera in cameras)
            vertices[some] = world_to_camera(world[of_frame[some]], turn, stand)
            points[some] = project(vertices[some], k)
    return vertices.numpy(), points.numpy(), intrinsics


def _chunks(count: int) -> list[slice]:
    """Samples at a time, so that the work stays in the processor's cache."""
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]


def _overlap(job: Job, points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """`hand_overlap` `[m]` of points `[m, H, V, 2]` px of the full image in their crops `[m, 2, 3]`."""
    scale, shift = crops[:, 0, 0, None, None, None], crops[:, None, None, :, 2]
    faces, size, overlap = job.hands.faces.numpy(), job.data.image_size, np.empty(len(points), np.float32)
    for some in _chunks(len(points)):
        overlap[some] = hand_overlap(points[some] * scale[some] + shift[some], faces, size=size)
    return overlap


def _crops(job: Job, rows: range, vertices: np.ndarray, points: np.ndarray) -> tuple:
    """Decode, select, cut and encode: kept rows `[m]`, crops `[m, 2, 3]`, JPEG bytes, what was dropped."""
    data, dropped = job.data, Dropped(unreadable=[])
    in_front = vertices[..., 2].min((1, 2)) > 0
    axes = np.ascontiguousarray(points.transpose(0, 3, 1, 2)).reshape(len(points), 2, -1)
    corners = np.stack([axes.min(-1), axes.max(-1)], 1).astype(np.float64)  # [n,2,2]
    crops = np.zeros((len(points), 2, 3))
    crops[in_front] = square_crop(corners[in_front], fill=data.fill, size=data.image_size)
    kept, jpegs = [], []
    for i, name in enumerate(job.selection.table.file_name.iloc[rows]):
        try:
            with open(f"{job.selection.images}/{name}", "rb", buffering=0) as file:
                image = simplejpeg.decode_jpeg(file.read(), "RGB")
        except (OSError, ValueError) as error:
            dropped.unreadable.append((name, getattr(error, "strerror", None) or str(error)))
            continue
        if sum(cv2.mean(image)[:3]) / 3 < data.min_brightness:
            dropped.dark += 1
        elif not in_front[i]:
            dropped.behind += 1
        else:
            cut = warp_crop(image, crops[i], size=data.image_size)
            jpegs.append(simplejpeg.encode_jpeg(cut, JPEG_QUALITY, "RGB", "444"))
            kept.append(i)
    kept = np.array(kept, np.int64)
    return kept, crops[kept], jpegs, dropped


def _fixed_lists(array: np.ndarray, column: str) -> pa.FixedSizeListArray:
    flat = pa.array(array.astype(np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=SCHEMA.field(column).type)


def _binaries(values: list[bytes]) -> pa.BinaryArray:
    """Copied once; pyarrow's own conversion copies as often as its buffer has to grow."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))]
    return pa.BinaryArray.from_buffers(pa.binary(), len(values), buffers)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread: parts are made side by side, and the last bits depend on the number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
