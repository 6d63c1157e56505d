"""Any method's hands measured by the code that measures ours."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from handdgcl.data.camera import project, square_crop
from handdgcl.data.overlap import IOU_BINS, IOU_TITLES, hand_overlap
from handdgcl.errors import InputError
from handdgcl.evaluate.handfile import HandFile
from handdgcl.evaluate.interaction import ERRORS, failures, interaction_errors, true_interaction
from handdgcl.evaluate.masks import mask_errors, true_masks
from handdgcl.evaluate.placed import apart, in_front, intrinsics_of, pixels_of, points_of, with_joints_2d
from handdgcl.evaluate.protocol import PROTOCOL
from handdgcl.hands import Hands
from handdgcl.hands.solid import sealed_faces
from handdgcl.hands.topology import FINGERS, HANDS
from handdgcl.model.metrics import Points, error_table, joint_means, means, position_errors

PCK_MM = 50  # the PCK curve runs from 0 to here, in steps of 1 mm
PAIR_ERRORS = {"mrrpe_mm", "mrrpe_wrist_mm", "pa_pair_mpvpe_mm", *ERRORS}  # of one hand's place to the other
_CHUNK = 256  # pairs at a time
_ROUNDING = 1e-6  # mm: a root's own error is 0 only up to rounding
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
    if truth.intrinsics is not None and not in_front(truth, required=True):
        raise InputError(f"{truth.name}: behind the camera of its intrinsics; leave these out")
    camera = truth.intrinsics is not None and (prediction.pixels is not None or in_front(prediction))
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(truth), _CHUNK)]
    errors, faces, placed = {}, sealed_faces(hands), {prediction.name: False, truth.name: False}
    overlap = None if truth.intrinsics is None else np.empty(len(truth), np.float32)
    for rows in tqdm(chunks, desc="score", leave=False, disable=None):
        points, true = (points_of(file, rows, hands) for file in (prediction, truth))
        for file, own in ((prediction, points), (truth, true)):
            placed[file.name] |= apart(own)
        true_2d = None
        if truth.intrinsics is not None:
            true_2d = project(true.vertices, intrinsics_of(truth, rows))
            overlap[rows] = _overlap(true_2d, hands)
        points_2d = pixels_of(prediction, truth, points, rows) if camera else None
        if camera:
            points = with_joints_2d(points, prediction, truth, points_2d, rows, hands)
            true = Points(true.vertices, true.joints, project(true.joints, intrinsics_of(truth, rows)))
        found = position_errors(points, true)
        found["pck_0_50mm_auc"] = pck_auc(found["per_joint_mm"])
        if interaction:
            found |= interaction_errors(points.vertices, true_interaction(true.vertices, faces), faces)
            if camera:
                found |= mask_errors(points_2d, true_masks(true_2d, hands.faces), hands.faces)
        _keep(found, errors, rows, len(truth))
    together = [name for name, known in placed.items() if not known]
    if together:  # then nothing is known of where one hand is to the other
        errors = {name: value for name, value in errors.items() if name not in PAIR_ERRORS}
    about = {} if overlap is None else {"iou": overlap}
    table = error_table(errors, pd.DataFrame(about, index=range(len(truth))))
    return Score(table, _summary(table, errors, prediction, truth, camera=camera, together=together))


def pck_curve(per_joint_mm: Tensor) -> np.ndarray:
    """Share of all joints `[..., J]` with an error of at most 0, 1, …, `PCK_MM` mm, `[PCK_MM + 1]`."""
    found = np.sort(per_joint_mm.reshape(-1).numpy())
    return np.searchsorted(found, np.arange(PCK_MM + 1) + _ROUNDING, side="right") / len(found)


def pck_auc(per_joint_mm: Tensor) -> Tensor:
    """Area under the PCK curve of each hand's joints `[..., J]` from 0 to `PCK_MM` mm, over its width.

    Exact, not a sum over thresholds: an error e is within the threshold on the share 1 - e / PCK_MM.
    """
    return (1 - per_joint_mm / PCK_MM).clamp(min=0).mean(-1)


def _keep(found: dict[str, Tensor], errors: dict[str, Tensor], rows: slice, count: int) -> None:
    """Write a chunk's errors into those of all `count` pairs.

    A list of the chunks' own small tensors would hold on to the freed memory between them, many gigabytes.
    """
    for name, value in found.items():
        if name not in errors:
            errors[name] = value.new_empty(count, *value.shape[1:])
        errors[name][rows] = value


def _overlap(points_2d: Tensor, hands: Hands) -> np.ndarray:
    """Overlap of the true hands in the benchmark's crop, `[B]`, as prepared data has it."""
    corners = torch.stack([points_2d.amin((1, 2)), points_2d.amax((1, 2))], 1).numpy()
    crops = square_crop(corners, fill=_FILL, size=_CROP_PX)[:, None, None]  # [B,1,1,2,3]
    return hand_overlap(
        points_2d.numpy() * crops[..., 0, [0]] + crops[..., 2], hands.faces.numpy(), size=_CROP_PX
    )


def _summary(
    table: pd.DataFrame,
    errors: dict[str, Tensor],
    prediction: HandFile,
    truth: HandFile,
    *,
    camera: bool,
    together: list[str],
) -> dict:
    """All that is said of the samples."""
    joints = joint_means(errors)
    fingers = {
        hand: {f: float(np.mean([v for joint, v in line.items() if joint.startswith(f)])) for f in FINGERS}
        for hand, line in joints.items()
    }
    given = {True: "given", False: "regressed from the vertices"}
    return {
        "pairs": len(truth),
        "prediction": prediction.name,
        "truth": truth.name,
        "joints": {
            "prediction": given[prediction.joints is not None],
            "truth": given[truth.joints is not None],
        },
        "notes": _notes(prediction, truth, camera=camera, together=together),
        "protocol": {name: line._asdict() for name, line in PROTOCOL.items() if name in table},
        "metrics": means(table),
        "by_hand": {hand: _of_hand(table[table["hand"] == hand], errors) for hand in HANDS},
        "by_overlap": _by_overlap(table) if "iou" in table else {},
        "not_measured": failures(errors) if "true_contacts" in errors else {},
        "pairs_with_true_contact": int((errors.get("true_contacts", torch.zeros(0)) > 0).sum()),
        "per_joint_mm": joints,
        "per_finger_mm": fingers,
        "pck": {"to_mm": PCK_MM, "share": pck_curve(errors["per_joint_mm"]).tolist()},
    }


def _notes(prediction: HandFile, truth: HandFile, *, camera: bool, together: list[str]) -> list[str]:
    """What was not measured, or not read, and why."""
    notes = [f"{f.name}: ignored {', '.join(f.ignored)}" for f in (prediction, truth) if f.ignored]
    if truth.intrinsics is None:
        notes.append("the truth has no intrinsics: no pixel error, no masks, no bins by overlap")
    elif not camera:
        notes.append(
            f"{prediction.name} is not in front of the camera and has no left_px, right_px: no pixel error, "
            "no masks"
        )
    notes += [
        f"{name}: both hands have their root at one place in every pair, so nothing is known of where one is "
        "to the other: no MRRPE, no error of both as one, no penetration, no contacts"
        for name in together
    ]
    return notes


def _of_hand(lines: pd.DataFrame, errors: dict[str, Tensor]) -> dict[str, float]:
    """The means of one hand, without those that are of the pair."""
    return {name: value for name, value in means(lines).items() if errors[name].dim() > 1}


def _by_overlap(table: pd.DataFrame) -> dict:
    """The means again, by overlap of the two hands in the image; the last bin holds its upper end."""
    place = np.digitize(table["iou"], IOU_BINS[1:-1])
    groups = [table[place == k] for k in range(len(IOU_TITLES))]
    return {
        title: {"pairs": len(group) // len(HANDS), "metrics": means(group)}
        for title, group in zip(IOU_TITLES, groups, strict=True)
    }
