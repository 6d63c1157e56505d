"""The formats of InterHand2.6M's annotation files (Moon et al. 2020, 2022).

Typed records; what nobody asks for is skipped while decoding, so that the 1.36 million images of the
full training split fit in memory.
"""

import mmap
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from tqdm import tqdm

from handdgcl.files import InputError, regular
from handdgcl.hands.topology import POSE_COUNT, SHAPE_COUNT
from handdgcl.project import SPLITS

FETCH_AGAIN = "fetch InterHand2.6M v1.0's annotation files again"

Vector2 = tuple[float, float]
Vector3 = tuple[float, float, float]


class Image(msgspec.Struct, gc=False):
    """One picture (data.json)."""

    id: int
    file_name: str
    width: int
    height: int
    capture: int
    subject: int
    seq_name: str
    camera: str
    frame_idx: int


class Annotation(msgspec.Struct, gc=False):
    """What one picture shows (data.json)."""

    image_id: int
    hand_type: Literal["right", "left", "interacting"]
    hand_type_valid: bool | int | float


class Data(msgspec.Struct):
    """data.json."""

    images: list[Image]
    annotations: list[Annotation]


class Cameras(msgspec.Struct):
    """The cameras of one capture by name (camera.json)."""

    campos: dict[str, Vector3]  # mm, in the world
    camrot: dict[str, tuple[Vector3, Vector3, Vector3]]
    focal: dict[str, Vector2]  # px
    princpt: dict[str, Vector2]  # px


class Fit(msgspec.Struct, gc=False):
    """MANO parameters of one hand; the pose is without the mean pose (MANO_NeuralAnnot.json)."""

    pose: Annotated[list[float], Meta(min_length=POSE_COUNT, max_length=POSE_COUNT)]
    shape: Annotated[list[float], Meta(min_length=SHAPE_COUNT, max_length=SHAPE_COUNT)]
    trans: Vector3  # metres, world


class Fits(msgspec.Struct, gc=False):
    """Both hands of one frame; null or missing where there is no fit."""

    left: Fit | None = None
    right: Fit | None = None


class Keypoints(msgspec.Struct):
    """One frame of joint_3d.json; only its places are asked for."""

    world_coord: list[Vector3]  # [2 J] mm, in the world, right hand first


# file: capture → (camera table | frame → record)
RECORDS = {
    "data": Data,
    "camera": dict[int, Cameras],
    "MANO_NeuralAnnot": dict[int, dict[int, Fits | None]],
}


def annotation_path(folder: str | Path, split: str, kind: str) -> Path:
    """Where the dataset keeps an annotation file; `kind` is data, camera, MANO_NeuralAnnot or joint_3d."""
    if split not in SPLITS:
        raise InputError(f"split {split!r}: there is none; the splits are {', '.join(SPLITS)}")
    return Path(folder) / "annotations" / split / f"InterHand2.6M_{split}_{kind}.json"


def decode(folder: str | Path, split: str, kind: str):
    """One annotation file as the records of `RECORDS[kind]`.

    Raises:
        InputError: the file is missing or malformed; the message names the field.
    """
    path = annotation_path(folder, split, kind)
    try:
        with (
            regular(path).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as text,
            tqdm(total=len(text), unit="B", unit_scale=True, desc=f"read {split} {kind}") as bar,
        ):
            records = msgspec.json.decode(text, type=RECORDS[kind])
            _check_names(mapped, kind, records)
            bar.update(len(text))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; data.source must name InterHand2.6M's folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it a readable file") from error
    except (ValueError, RecursionError, msgspec.DecodeError) as error:  # ValueError: an empty file
        reason = f"{error}{_context(path, str(error))}"
        raise InputError(f"{path}: not what InterHand2.6M v1.0 has there: {reason}; {FETCH_AGAIN}") from error
    return records


def _check_names(text: mmap.mmap, kind: str, records: dict) -> None:
    """No capture or frame stands twice, of which the decoder would take the last."""
    if kind == "data":
        return
    field = {"camera": "campos", "MANO_NeuralAnnot": "trans"}[kind]
    fits = lambda frames: [hand for fit in frames.values() if fit for hand in (fit.left, fit.right) if hand]
    read = len(records) if kind == "camera" else sum(len(fits(frames)) for frames in records.values())
    written = sum(1 for _ in re.finditer(rb'"%s"\s*:' % field.encode(), text))
    if written != read:
        raise ValueError(f"{written} times {field!r}, for {read} entries: a capture or frame stands twice")


def _context(path: Path, message: str) -> str:
    """What stands where a message says that a character is wrong: JSON has no NaN, for example."""
    place = re.search(r"\(byte (\d+)\)", message)
    if not place:
        return ""
    with path.open("rb") as file:
        file.seek(max(int(place[1]) - 30, 0))
        return f", at {file.read(45).decode('utf-8', 'replace')!r}"
