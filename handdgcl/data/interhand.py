"""InterHand2.6M's annotation files (Moon et al. 2020; MANO fits: NeuralAnnot, Moon et al. 2022).

The benchmark's selection (IntagHand, Li et al. 2022): both hands, their type certain, both fits present.
Images and annotations are joined by image id; their order in the files means nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from handdgcl.data.annotations import FETCH_AGAIN, Annotation, Fits, annotation_path, decode
from handdgcl.files import InputError
from handdgcl.hands.camera import LEAST_FOCAL_PX, intrinsic_matrix

IMAGE_COLUMNS = ("image_id", "file_name", "capture", "subject", "seq_name", "camera", "frame")
SIZE = ("width", "height")
_FIELDS = (*IMAGE_COLUMNS[:2], *SIZE, *IMAGE_COLUMNS[2:])  # as `annotations.Image` has them
_OUTSIDE = r"(?:^|/)\.\.(?:/|$)|^/|\x00"  # of the data set's folder
MOST_FOCAL_PX = 1e6
FARTHEST_M = 20.0  # of a hand from the origin of the world
FARTHEST_MM = 1e5  # of a camera
MOST_PARAMETER = 100.0  # of pose (rad) and shape


class Views(NamedTuple):
    """Cameras, one per row."""

    rotation: np.ndarray  # [C,3,3] world to camera
    position: np.ndarray  # [C,3] mm in the world
    intrinsics: np.ndarray  # [C,3,3] px of the full image


class HandFits(NamedTuple):
    """MANO parameters of both hands, one pair per row; `Hands.forward` takes them as they are."""

    pose: np.ndarray  # [F,H,48] axis-angle without the mean pose, world frame
    shape: np.ndarray  # [F,H,10]
    translation: np.ndarray  # [F,H,3] metres, world frame


@dataclass
class Selection:
    """The samples of one split that the benchmark's rules keep.

    Attributes:
        counts: what each rule did, in the order of application: `rule`, `failing` (images that break
            this rule, whatever the others say), `dropped` (of those that the rules above kept), `kept`.
    """

    images: Path  # folder that `table.file_name` is relative to
    table: pd.DataFrame  # one row per sample: `IMAGE_COLUMNS`
    fit: np.ndarray  # [N] each sample's row of `fits`: the views of one frame share it
    fits: HandFits
    size: np.ndarray  # [N,2] width and height of each image, px
    view: np.ndarray  # [N] each sample's row of `views`
    views: Views
    counts: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)


def read_images(folder: str | Path, split: str) -> pd.DataFrame:
    """All images of a split.

    Returns:
        `IMAGE_COLUMNS`, `SIZE`, `hand_type` and `hand_type_valid`, in the order of the file's images; an
        image without an annotation has the type "none", not valid.

    Raises:
        InputError: the file is missing or malformed, an id is double or unknown, or an image is named that
            is not inside the data set.
    """
    path = annotation_path(folder, split, "data")
    data = decode(folder, split, "data")
    images = _frame(data.images, _FIELDS)
    hands = _frame(data.annotations, Annotation.__struct_fields__)
    for name, ids in (("images: id", images.image_id), ("annotations: image_id", hands.image_id)):
        if ids.duplicated().any():
            raise InputError(f"{path}: {name} {ids[ids.duplicated()].iloc[0]} stands twice; {FETCH_AGAIN}")
    unknown = hands.image_id[~hands.image_id.isin(images.image_id)]
    if len(unknown):
        raise InputError(f"{path}: annotations: image_id {unknown.iloc[0]} is no image's id; {FETCH_AGAIN}")
    outside = images.file_name[images.file_name.str.contains(_OUTSIDE)]
    if len(outside):
        raise InputError(
            f"{path}: images: file_name {outside.iloc[0]!r} is outside the data set; {FETCH_AGAIN}"
        )
    table = images.merge(hands, on="image_id", how="left", validate="one_to_one")
    valid = table["hand_type_valid"].fillna(0).astype(bool)
    return table.assign(hand_type=table["hand_type"].fillna("none"), hand_type_valid=valid)


def read_split(folder: str | Path, split: str) -> Selection:
    """Read a split and select the benchmark's samples; `folder` holds images/{split} and annotations/{split}.

    Raises:
        InputError: a file is missing or malformed (named with the field), a kept image's camera is
            unknown, or no image is left.
    """
    table = read_images(folder, split)
    cameras = decode(folder, split, "camera")
    frames = decode(folder, split, "MANO_NeuralAnnot")
    pairs, fit = _match_fits(frames, table)
    rules = {
        "both hands (hand_type interacting)": table.hand_type == "interacting",
        "certain (hand_type_valid)": table.hand_type_valid,
        "both hands have a MANO fit": fit >= 0,
    }
    keep, counts = _apply(rules, len(table))
    if not keep.any():
        path = annotation_path(folder, split, "data")
        raise InputError(f"{path}: no image is left of {len(table)}:\n{counts.to_string(index=False)}")
    table = table.loc[keep].reset_index(drop=True)
    size, table = table[list(SIZE)].to_numpy(), table[list(IMAGE_COLUMNS)]
    used, fit = np.unique(fit[keep], return_inverse=True)
    view, views = _views(cameras, table, annotation_path(folder, split, "camera"))
    fits = _stack_fits([pairs[i] for i in used])
    _check_fits(fits, fit, table, annotation_path(folder, split, "MANO_NeuralAnnot"))
    return Selection(Path(folder) / "images" / split, table, fit, fits, size, view, views, counts)


def _frame(records: list[msgspec.Struct], columns: tuple[str, ...]) -> pd.DataFrame:
    """One row per record, its fields in order."""
    return pd.DataFrame(map(msgspec.structs.astuple, records), columns=list(columns))


def _match_fits(captures: dict[int, dict[int, Fits]], table: pd.DataFrame) -> tuple[list[Fits], np.ndarray]:
    """The frames with two fits, and for each image its place among them, -1 = none."""
    pairs = [
        (capture, frame, fits)
        for capture, frames in captures.items()
        for frame, fits in frames.items()
        if fits is not None and fits.left is not None and fits.right is not None
    ]
    index = pd.MultiIndex.from_arrays([[pair[0] for pair in pairs], [pair[1] for pair in pairs]])
    wanted = pd.MultiIndex.from_arrays([table.capture, table.frame])
    return [pair[2] for pair in pairs], index.get_indexer(wanted)


def _apply(rules: dict[str, pd.Series], total: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Apply rules in order: the mask of what all of them keep, and `Selection.counts`."""
    keep = np.ones(total, dtype=bool)
    rows = [("all images", 0, 0, total)]
    for rule, passes in rules.items():
        passes = np.asarray(passes)
        before = int(keep.sum())
        keep &= passes
        rows.append((rule, int((~passes).sum()), before - int(keep.sum()), int(keep.sum())))
    return keep, pd.DataFrame(rows, columns=["rule", "failing", "dropped", "kept"])


def _stack_fits(pairs: list[Fits]) -> HandFits:
    hands = [(pair.left, pair.right) for pair in pairs]
    stack = lambda field: np.array([[getattr(fit, field) for fit in pair] for pair in hands], np.float32)
    with np.errstate(over="ignore"):  # what is infinite is named below
        return HandFits(stack("pose"), stack("shape"), stack("trans"))


def _views(captures: dict, table: pd.DataFrame, path: Path) -> tuple[np.ndarray, Views]:
    """The cameras that the table names, and each row's place among them."""
    groups = table.groupby(["capture", "camera"], sort=True)
    rotation, position, intrinsics = [], [], []
    for capture, camera in groups.groups:
        if capture not in captures:
            raise InputError(f"{path}: no capture {capture}, which data.json names; {FETCH_AGAIN}")
        record = captures[capture]
        for field in record.__struct_fields__:
            if camera not in getattr(record, field):
                raise InputError(f"{path}: capture {capture}: {field}: no camera {camera}; {FETCH_AGAIN}")
        rotation.append(record.camrot[camera])
        position.append(record.campos[camera])
        intrinsics.append(intrinsic_matrix(record.focal[camera], record.princpt[camera]))
    views = Views(np.array(rotation), np.array(position), np.array(intrinsics))
    _check_views(views, list(groups.groups), path)
    return groups.ngroup().to_numpy(), views


def _check_views(views: Views, names: list[tuple[int, str]], path: Path) -> None:
    """Cameras that are none, or in another unit, would give crops of nothing."""
    focal = views.intrinsics[:, [0, 1], [0, 1]]
    with np.errstate(over="ignore", invalid="ignore"):
        square = views.rotation @ views.rotation.transpose(0, 2, 1)
        wrong = {
            "camrot is no rotation": (np.abs(square - np.eye(3)).max((1, 2)) > 1e-2)
            | ~(np.linalg.det(views.rotation) > 0),
            f"campos is farther than {FARTHEST_MM:g} mm": ~(np.abs(views.position).max(1) < FARTHEST_MM),
            f"focal is not within {LEAST_FOCAL_PX:g} to {MOST_FOCAL_PX:g} px": (
                ~((focal >= LEAST_FOCAL_PX) & (focal <= MOST_FOCAL_PX)).all(1)
            ),
            f"princpt is farther than {MOST_FOCAL_PX:g} px": ~(
                np.abs(views.intrinsics[:, :2, 2]).max(1) < MOST_FOCAL_PX
            ),
        }
    for what, bad in wrong.items():
        if bad.any():
            capture, camera = names[bad.argmax()]
            raise InputError(
                f"{path}: capture {capture}: camera {camera}: {what}, {bad.sum()} such cameras; {FETCH_AGAIN}"
            )


def _check_fits(fits: HandFits, fit: np.ndarray, table: pd.DataFrame, path: Path) -> None:
    """Fits in another unit."""
    for name, values, most, unit in (
        ("pose", fits.pose, MOST_PARAMETER, "rad"),
        ("shape", fits.shape, MOST_PARAMETER, "standard deviations"),
        ("trans", fits.translation, FARTHEST_M, "metres"),
    ):
        bad = ~(np.abs(values).max((1, 2)) <= most)
        if bad.any():
            of = table.iloc[np.flatnonzero(fit == bad.argmax())[0]]
            raise InputError(
                f"{path}: capture {of.capture}: frame {of.frame}: {name} is beyond {most:g}, {bad.sum()} "
                f"such fits; {unit} are wanted"
            )
