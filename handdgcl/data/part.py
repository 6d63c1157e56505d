"""One part of a store: some consecutive samples of a selection, from annotation to Arrow file."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from handdgcl.config import Data
from handdgcl.data.crop import hand_overlap, warp_crop
from handdgcl.data.interhand import IMAGE_COLUMNS, Selection
from handdgcl.data.store import SCHEMA, part_name
from handdgcl.files import regular, replacing
from handdgcl.hands import Hands
from handdgcl.hands.camera import MM, crop_intrinsics, project, square_crop, world_to_camera

PART_SIZE = 512  # samples; what a kill can cost each process
JPEG_QUALITY = 95
_DROPPED = b"dropped"


class Dropped(msgspec.Struct):
    """What a part left out; kept in its file's metadata."""

    unreadable: list[tuple[str, str]]  # (file name, reason) of each image without pixels that can be used
    resized: int = 0  # of those, images of another size than annotated
    dark: int = 0  # images below `data.min_brightness`
    behind: int = 0  # images with a vertex that is not in front of the camera
    outside: int = 0  # images in which a hand has no vertex
    black: int = 0  # images whose crop is below `data.min_brightness`


@dataclass
class Job:
    """All that it takes to make any part."""

    selection: Selection
    data: Data
    hands: Hands  # on the CPU
    work: Path  # folder of the parts

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
    vertices, points, intrinsics = _geometry(job, rows)
    kept, crops, jpegs, dropped = _crops(job, rows, vertices, points)
    table = job.selection.table.iloc[np.array(rows)[kept]]
    scale, shift = crops[:, 0, 0, None, None, None], crops[:, None, None, :, 2]
    overlap = hand_overlap(points[kept] * scale + shift, job.hands.faces.numpy(), size=job.data.image_size)
    of_crop = [crop_intrinsics(k, crop) for k, crop in zip(intrinsics[kept], crops, strict=True)]
    columns = [pa.array(table[name], type=SCHEMA.field(name).type) for name in IMAGE_COLUMNS]
    columns += [
        pa.array(overlap),
        _fixed_lists(np.array(of_crop), "intrinsics"),
        _fixed_lists(vertices[kept], "vertices"),
        pa.array(jpegs, pa.binary()),
    ]
    schema = SCHEMA.with_metadata({_DROPPED: msgspec.json.encode(dropped)})
    with (
        replacing(job.path(part)) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    return dropped


def read_part(path: Path) -> tuple[int, Dropped] | None:
    """How many samples a part holds and what it left out; None where there is no part, or a damaged one."""
    try:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            dropped = msgspec.json.decode(reader.schema.metadata[_DROPPED], type=Dropped)
            return reader.get_batch(0).num_rows, dropped
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, msgspec.DecodeError):
        return None


def readable_now(job: Job, dropped: Dropped) -> bool:
    """Whether an image that a part could not read can be read now: fetched again, say, in the same size."""
    names = job.selection.table.file_name.to_numpy()
    for name, _ in dropped.unreadable:
        size = job.selection.size[np.flatnonzero(names == name)[0]]
        with suppress(OSError, ValueError):
            read_jpeg(f"{job.selection.images}/{name}", *size)
            return True
    return False


def _geometry(job: Job, rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices `[n, H, V, 3]` m in the camera frame, `[n, H, V, 2]` px of the full image, K `[n, 3, 3]`."""
    selection = job.selection
    frames, of_frame = np.unique(selection.fit[rows], return_inverse=True)  # several cameras see one frame
    rotation, position, intrinsics = (array[selection.view[rows]] for array in selection.views)
    as_float = lambda array: torch.as_tensor(array, dtype=torch.float32)
    turn, place, k = (as_float(array)[:, None] for array in (rotation, position / MM, intrinsics))
    with torch.no_grad():
        world = job.hands(*(as_float(array[frames]) for array in selection.fits))
        vertices = world_to_camera(world[of_frame], turn, place)
        points = project(vertices, k)
    return vertices.numpy(), points.numpy(), intrinsics


def _crops(job: Job, rows: range, vertices: np.ndarray, points: np.ndarray) -> tuple:
    """Decode, select, cut and encode: kept rows `[m]`, crops `[m, 2, 3]`, JPEG bytes, what was dropped."""
    data, dropped = job.data, Dropped(unreadable=[])
    in_front, size = vertices[..., 2].min((1, 2)) > 0, job.selection.size[rows]
    in_picture = ((points > 0) & (points < size[:, None, None])).all(-1).any(-1).all(-1)
    crops = np.zeros((len(points), 2, 3))
    both = points.reshape(len(points), -1, 2).astype(np.float64)
    crops[in_front] = square_crop(both[in_front], fill=data.fill, size=data.image_size)
    kept, jpegs = [], []
    for i, name in enumerate(job.selection.table.file_name.iloc[rows]):
        try:
            image = read_jpeg(f"{job.selection.images}/{name}", *size[i])
        except (OSError, ValueError) as error:
            dropped.unreadable.append((name, getattr(error, "strerror", None) or str(error)))
            dropped.resized += isinstance(error, AnotherSizeError)
            continue
        if brightness(image) < data.min_brightness:
            dropped.dark += 1
        elif not in_front[i]:
            dropped.behind += 1
        elif not in_picture[i]:
            dropped.outside += 1
        elif brightness(cut := warp_crop(image, crops[i], size=data.image_size)) < data.min_brightness:
            dropped.black += 1
        else:
            jpegs.append(simplejpeg.encode_jpeg(cut, JPEG_QUALITY, "RGB", "444"))
            kept.append(i)
    kept = np.array(kept, np.int64)
    return kept, crops[kept], jpegs, dropped


def brightness(image: np.ndarray) -> float:
    """Mean over pixels and channels, 0 to 255."""
    return sum(cv2.mean(image)[:3]) / 3


class AnotherSizeError(ValueError):
    """An image whose size is not the annotated one."""


def read_jpeg(path: str, width: int, height: int) -> np.ndarray:
    """`[height, width, 3]` uint8, RGB.

    Raises:
        OSError, ValueError: it is missing, no file or does not decode.
        AnotherSizeError: its annotations mean other places.
    """
    content = regular(path).read_bytes()
    found = simplejpeg.decode_jpeg_header(content)[1::-1]  # before memory is set aside for it
    if found != (width, height):
        raise AnotherSizeError(f"{found[0]} x {found[1]} px, annotated as {width} x {height}")
    return simplejpeg.decode_jpeg(content, "RGB")


def _fixed_lists(array: np.ndarray, column: str) -> pa.FixedSizeListArray:
    flat = pa.array(array.astype(np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=SCHEMA.field(column).type)
