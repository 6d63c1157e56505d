"""InterHand2.6M's annotation files (Moon et al. 2020; MANO fits: NeuralAnnot, Moon et al. 2022).

The benchmark's selection (IntagHand, Li et al. 2022): both hands, their type certain, both fits present.
Images and annotations are joined by image id; their order in the files means nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from handdgcl.data.annotations import FETCH_AGAIN, Annotation, Fits, Image, annotation_path, decode
from handdgcl.data.camera import intrinsic_matrix
from handdgcl.errors import InputError
from handdgcl.hands.topology import HANDS, INTERHAND_ORDER, JOINT_COUNT, LEFT, RIGHT

IMAGE_COLUMNS = ("image_id", "file_name", "capture", "subject", "seq_name", "camera", "frame")


class Views(NamedTuple):
    """Cameras, one per row.

    Attributes:
        rotation: `[C, 3, 3]`, world to camera.
        position: `[C, 3]` mm in the world.
        intrinsics: `[C, 3, 3]` px of the full image.
    """

    rotation: np.ndarray
    position: np.ndarray
    intrinsics: np.ndarray


class HandFits(NamedTuple):
    """MANO parameters of both hands, one pair per row; `Hands.forward` takes them as they are.

    Attributes:
        pose: `[F, H, 48]` axis-angle without the mean pose, world frame.
        shape: `[F, H, 10]`.
        translation: `[F, H, 3]` metres, world frame.
    """

    pose: np.ndarray
    shape: np.ndarray
    translation: np.ndarray


@dataclass
class Selection:
    """The samples of one split that the benchmark's rules keep.

    Attributes:
        images: folder that `table.file_name` is relative to.
        table: one row per sample: `IMAGE_COLUMNS`.
        fit: `[N]` each sample's row of `fits` (the views of one frame share it).
        fits: the hands.
        view: `[N]` each sample's row of `views`.
        views: the cameras.
        counts: what each rule did, in the order of application: `rule`, `failing` (images that break
            this rule, whatever the others say), `dropped` (of those that the rules above kept), `kept`.
    """

    images: Path
    table: pd.DataFrame
    fit: np.ndarray
    fits: HandFits
    view: np.ndarray
    views: Views
    counts: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)


def read_images(folder: str | Path, split: str, *, bar: tqdm | None = None) -> pd.DataFrame:
    """All images of a split.

    Returns:
        `IMAGE_COLUMNS`, `hand_type` and `hand_type_valid`, in the order of the file's images; an image
        without an annotation has the type "none", not valid.

    Raises:
        InputError: the file is missing or malformed, or an id is double or unknown.
    """
    path = annotation_path(folder, split, "data")
    data = decode(folder, split, "data", bar)
    images = pd.DataFrame(
        {
            column: [getattr(image, field) for image in data.images]
            for column, field in zip(IMAGE_COLUMNS, Image.__struct_fields__, strict=True)
        }
    )
    hands = pd.DataFrame(
        {field: [getattr(a, field) for a in data.annotations] for field in Annotation.__struct_fields__}
    )
    for name, ids in (("images: id", images.image_id), ("annotations: image_id", hands.image_id)):
        if ids.duplicated().any():
            raise InputError(f"{path}: {name} {ids[ids.duplicated()].iloc[0]} stands twice; {FETCH_AGAIN}")
    unknown = hands.image_id[~hands.image_id.isin(images.image_id)]
    if len(unknown):
        raise InputError(f"{path}: annotations: image_id {unknown.iloc[0]} is no image's id; {FETCH_AGAIN}")
    table = images.merge(hands, on="image_id", how="left", validate="one_to_one")
    valid = table["hand_type_valid"].fillna(0).astype(bool)
    return table.assign(hand_type=table["hand_type"].fillna("none"), hand_type_valid=valid)


def read_split(folder: str | Path, split: str, *, progress: bool = True) -> Selection:
    """Read a split and select the benchmark's samples.

    Args:
        folder: holds `images/{split}` and `annotations/{split}`.
        split: train, val or test.
        progress: show a bar over the files.

    Raises:
        InputError: a file is missing or malformed (named with the field), a kept image's camera is
            unknown, or no image is left.
    """
    paths = [annotation_path(folder, split, kind) for kind in ("data", "camera", "MANO_NeuralAnnot")]
    size = sum(path.stat().st_size for path in paths if path.exists())
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=f"read {split}", disable=not progress)
    with bar:
        table = read_images(folder, split, bar=bar)
        cameras = decode(folder, split, "camera", bar)
        frames = decode(folder, split, "MANO_NeuralAnnot", bar)
    pairs, fit = _match_fits(frames, table)
    rules = {
        "both hands (hand_type interacting)": table.hand_type == "interacting",
        "certain (hand_type_valid)": table.hand_type_valid,
        "both hands have a MANO fit": fit >= 0,
    }
    keep, counts = _apply(rules, len(table))
    if not keep.any():
        raise InputError(f"{paths[0]}: no image is left of {len(table)}:\n{counts.to_string(index=False)}")
    table = table.loc[keep, list(IMAGE_COLUMNS)].reset_index(drop=True)
    used, fit = np.unique(fit[keep], return_inverse=True)
    view, views = _views(cameras, table, paths[1])
    fits = _stack_fits([pairs[i] for i in used])
    return Selection(Path(folder) / "images" / split, table, fit, fits, view, views, counts)


def read_joints(folder: str | Path, split: str, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The dataset's own keypoints of given images (the metric does not use them).

    Args:
        folder: the dataset.
        split: train, val or test.
        table: has the columns `capture` and `frame`.

    Returns:
        joints `[N, H, J, 3]` mm, world frame, in the order of `topology.JOINTS`; and valid `[N, H, J]`.

    Raises:
        InputError: the file is missing or malformed, or does not have a frame.
    """
    captures = decode(folder, split, "joint_3d")
    joints = np.empty((len(table), len(HANDS), JOINT_COUNT, 3))
    valid = np.empty((len(table), len(HANDS), JOINT_COUNT), dtype=bool)
    order = list(INTERHAND_ORDER)
    for i, (capture, frame) in enumerate(zip(table.capture, table.frame, strict=True)):
        try:
            record = captures[capture][frame]
        except KeyError:
            path = annotation_path(folder, split, "joint_3d")
            raise InputError(f"{path}: no frame {frame} of capture {capture}; {FETCH_AGAIN}") from None
        for hand, rows in ((RIGHT, slice(0, JOINT_COUNT)), (LEFT, slice(JOINT_COUNT, None))):
            joints[i, hand, order] = record.world_coord[rows]
            valid[i, hand, order] = np.array(record.joint_valid[rows])[:, 0] > 0
    return joints, valid


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
    return groups.ngroup().to_numpy(), Views(np.array(rotation), np.array(position), np.array(intrinsics))
