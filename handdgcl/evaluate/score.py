"""Any method's hands measured by the code that measures ours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from handdgcl.data.camera import bone_scale, project, square_crop
from handdgcl.data.overlap import IOU_BINS, IOU_TITLES, hand_overlap
from handdgcl.errors import InputError
from handdgcl.evaluate.handfile import HandFile
from handdgcl.evaluate.interaction import failures, interaction_errors, true_interaction
from handdgcl.evaluate.masks import mask_errors, true_masks
from handdgcl.evaluate.protocol import PROTOCOL
from handdgcl.hands import Hands
from handdgcl.hands.solid import sealed_faces
from handdgcl.hands.topology import FINGERS, HANDS
from handdgcl.model.metrics import Points, error_table, joint_means, means, position_errors

PCK_MM = 50  # the PCK curve runs from 0 to here, in steps of 1 mm
_CHUNK = 256  # pairs at a time
_ROUNDING = 1e-6  # mm: a root's own error is 0 only up to rounding
_SHORTEST_M = 1e-6  # a metacarpal, below which there is none
_CROP_PX, _FILL = 256, 0.8  # the benchmark's crop, in which overlap is measured


@dataclass(frozen=True)
class Score:
    """Errors of a prediction.

    Attributes:
        samples: one line per pair and hand: index, iou where there is a camera, hand, every error.
        summary: what `handdgcl score` writes as JSON.
    """

    samples: pd.DataFrame
    summary: dict


def score(prediction: HandFile, truth: HandFile, hands: Hands, *, interaction: bool = True) -> Score:
    """Measure predicted against true hands: all metrics of this project.

    Args:
        prediction, truth: the same N pairs in the same order.
        hands: the model whose vertices these are; gives joints and faces.
        interaction: also penetration, contacts and masks, which are most of the work.

    Raises:
        InputError: the files do not fit together, a metacarpal has no length, or some hands are behind the
            camera; the message names file, array and sample.
    """
    if len(prediction) != len(truth):
        raise InputError(f"{prediction.name}: {len(prediction)} pairs; {truth.name} has {len(truth)}")
    if truth.intrinsics is not None and not _in_front(truth, required=True):
        raise InputError(f"{truth.name}: behind the camera of its intrinsics; leave these out")
    camera = truth.intrinsics is not None and (prediction.pixels is not None or _in_front(prediction))
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(truth), _CHUNK)]
    errors, faces = {}, sealed_faces(hands)
    overlap = None if truth.intrinsics is None else np.empty(len(truth), np.float32)
    for rows in tqdm(chunks, desc="score", leave=False, disable=None):
        points, true = (_points(file, rows, hands) for file in (prediction, truth))
        true_2d = None
        if truth.intrinsics is not None:
            true_2d = project(true.vertices, _intrinsics(truth, rows))
            overlap[rows] = _overlap(true_2d, hands)
        points_2d = _pixels(prediction, truth, points, rows) if camera else None
        if camera:
            points = _with_joints_2d(points, prediction, truth, points_2d, rows, hands)
            true = Points(true.vertices, true.joints, project(true.joints, _intrinsics(truth, rows)))
        found = position_errors(points, true)
        found["pck_0_50mm_auc"] = pck_auc(found["per_joint_mm"])
        if interaction:
            found |= interaction_errors(points.vertices, true_interaction(true.vertices, faces), faces)
            if camera:
                found |= mask_errors(points_2d, true_masks(true_2d, hands.faces), hands.faces)
        _keep(found, errors, rows, len(truth))
    about = {} if overlap is None else {"iou": overlap}
    table = error_table(errors, pd.DataFrame(about, index=range(len(truth))))
    return Score(table, _summary(table, errors, prediction, truth, camera))


def pck_curve(per_joint_mm: Tensor) -> np.ndarray:
    """Share of all joints `[..., J]` with an error of at most 0, 1, …, `PCK_MM` mm, `[PCK_MM + 1]`."""
    found = np.sort(per_joint_mm.reshape(-1).numpy())
    return np.searchsorted(found, np.arange(PCK_MM + 1) + _ROUNDING, side="right") / len(found)


def pck_auc(per_joint_mm: Tensor) -> Tensor:
    """Area under the PCK curve of each hand's joints `[..., J]` from 0 to `PCK_MM` mm, over its width.

    Exact, not a sum over thresholds: an error e is within the threshold on the share 1 - e / PCK_MM.
    """
    return (1 - per_joint_mm / PCK_MM).clamp(min=0).mean(-1)


def _in_front(file: HandFile, *, required: bool = False) -> bool:
    """Whether the hands stand before the camera; none of them may if they are relative to a root."""
    behind = file.nearest <= 0
    if behind.any() and (required or not behind.all()):
        raise InputError(
            f"{file.name}: left, right: sample {behind.argmax()} is not in front of the camera, "
            f"{behind.sum()} such samples; give z > 0, or leave `intrinsics` out"
        )
    return not behind.any()


def _points(file: HandFile, rows: slice, hands: Hands) -> Points:
    """The metric's points of some pairs."""
    stack = lambda arrays: torch.as_tensor(np.stack([array[rows] for array in arrays], 1)).double()
    points = Points.from_vertices(stack(file.vertices), hands)
    if file.joints is not None:
        points = Points(points.vertices, stack(file.joints))
    short = bone_scale(points.joints)[..., 0, 0] <= _SHORTEST_M
    if short.any():
        sample, hand = short.nonzero()[0].tolist()
        raise InputError(
            f"{file.name}: {HANDS[hand]}: sample {rows.start + sample} has a middle metacarpal of length 0"
        )
    return points


def _intrinsics(truth: HandFile, rows: slice) -> Tensor:
    """K `[B, 1, 3, 3]`."""
    return torch.as_tensor(np.array(truth.intrinsics[rows])).double()[:, None]


def _keep(found: dict[str, Tensor], errors: dict[str, Tensor], rows: slice, count: int) -> None:
    """Write a chunk's errors into those of all `count` pairs.

    A list of the chunks' own small tensors would hold on to the freed memory between them, many gigabytes.
    """
    for name, value in found.items():
        if name not in errors:
            errors[name] = value.new_empty(count, *value.shape[1:])
        errors[name][rows] = value


def _pixels(prediction: HandFile, truth: HandFile, points: Points, rows: slice) -> Tensor:
    """Predicted vertices in the image `[B, H, V, 2]`: its own, or by the true camera."""
    if prediction.pixels is None:
        return project(points.vertices, _intrinsics(truth, rows))
    return torch.as_tensor(np.stack([array[rows] for array in prediction.pixels], 1)).double()


def _with_joints_2d(
    points: Points, prediction: HandFile, truth: HandFile, points_2d: Tensor, rows: slice, hands: Hands
) -> Points:
    """Predicted joints in the image: those of the predicted pixels, which are exact for weak perspective."""
    if prediction.pixels is None:
        joints_2d = project(points.joints, _intrinsics(truth, rows))
    else:
        joints_2d = hands.joints(points_2d)
    return Points(points.vertices, points.joints, joints_2d)


def _overlap(points_2d: Tensor, hands: Hands) -> np.ndarray:
    """Overlap of the true hands in the benchmark's crop, `[B]`, as prepared data has it."""
    corners = torch.stack([points_2d.amin((1, 2)), points_2d.amax((1, 2))], 1).numpy()
    crops = square_crop(corners, fill=_FILL, size=_CROP_PX)[:, None, None]  # [B,1,1,2,3]
    return hand_overlap(
        points_2d.numpy() * crops[..., 0, [0]] + crops[..., 2], hands.faces.numpy(), size=_CROP_PX
    )


def _summary(
    table: pd.DataFrame, errors: dict[str, Tensor], prediction: HandFile, truth: HandFile, camera: bool
) -> dict:
    """All that is said of the samples."""
    joints = joint_means(errors)
    fingers = {
        hand: {f: float(np.mean([v for joint, v in line.items() if joint.startswith(f)])) for f in FINGERS}
        for hand, line in joints.items()
    }
    notes = [f"{f.name}: ignored {', '.join(f.ignored)}" for f in (prediction, truth) if f.ignored]
    if truth.intrinsics is None:
        notes.append("the truth has no intrinsics: no pixel error, no masks, no bins by overlap")
    elif not camera:
        notes.append(
            f"{prediction.name} is not in front of the camera and has no left_px, right_px: no pixel error, "
            "no masks"
        )
    given = {True: "given", False: "regressed from the vertices"}
    return {
        "pairs": len(truth),
        "prediction": prediction.name,
        "truth": truth.name,
        "joints": {
            "prediction": given[prediction.joints is not None],
            "truth": given[truth.joints is not None],
        },
        "notes": notes,
        "protocol": {name: line._asdict() for name, line in PROTOCOL.items() if name in table},
        "metrics": means(table),
        "by_hand": {hand: _of_hand(table[table["hand"] == hand], errors) for hand in HANDS},
        "by_iou": _by_iou(table) if "iou" in table else {},
        "not_measured": failures(errors) if "true_contacts" in errors else {},
        "pairs_with_true_contact": int((errors.get("true_contacts", torch.zeros(0)) > 0).sum()),
        "per_joint_mm": joints,
        "per_finger_mm": fingers,
        "pck": {"to_mm": PCK_MM, "share": pck_curve(errors["per_joint_mm"]).tolist()},
    }


def _of_hand(lines: pd.DataFrame, errors: dict[str, Tensor]) -> dict[str, float]:
    """The means of one hand, without those that are of the pair."""
    return {name: value for name, value in means(lines).items() if errors[name].dim() > 1}


def _by_iou(table: pd.DataFrame) -> dict:
    """The means again, by overlap of the two hands in the image; the last bin holds its upper end."""
    place = np.digitize(table["iou"], IOU_BINS[1:-1])
    groups = [table[place == k] for k in range(len(IOU_TITLES))]
    return {
        title: {"pairs": len(group) // len(HANDS), "metrics": means(group)}
        for title, group in zip(IOU_TITLES, groups, strict=True)
    }
