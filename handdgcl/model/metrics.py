"""Position errors of two-hand reconstructions: the protocol of Tables 1-2 and its relatives.

A name ends in the unit; where it says no root or scale, they are the paper's:

| name | root | scale |
|---|---|---|
| `mpjpe_mm`, `mpvpe_mm`, `per_joint_mm` | middle MCP (joint 9) of each hand | true / predicted length J0-J9 |
| `..._unscaled_mm` | middle MCP | none |
| `..._wrist_mm` | wrist (joint 0) | none |
| `pa_...` (per hand), `pa_pair_...` (both together) | fitted (Procrustes) | fitted |
| `mrrpe_mm`, `mrrpe_wrist_mm` | left root - right root (middle MCP, wrist) | never |
| `pixel_px` | none | none |
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.camera import MM, bone_scale, relative_root
from handdgcl.hands.topology import (
    HANDS,
    JOINT_COUNT,
    JOINTS,
    LEFT,
    ROOT_JOINT,
    VERTEX_COUNT,
    WRIST_JOINT,
)

INDEX, PINKY = JOINTS.index("index1"), JOINTS.index("pinky1")
UNITS = ("_mm", "_px", "_cm3", "_share", "_iou", "_auc")  # how the names of errors end


@dataclass(frozen=True)
class Points:
    """Both hands of some samples, predicted or true; axes of the camera, any origin of the pair."""

    vertices: Tensor | None  # [B,H,V,3] metres; None: a prediction of joints alone
    joints: Tensor  # [B,H,J,3] metres
    joints_2d: Tensor | None = None  # [B,H,J,2] px

    @classmethod
    def from_vertices(cls, vertices: Tensor, hands: Hands, joints_2d: Tensor | None = None) -> "Points":
        """The metric's own joints: the model's regressor on the vertices, prediction and truth alike."""
        vertices = vertices.double()
        return cls(vertices, hands.joints(vertices), joints_2d)


def position_errors(prediction: Points, truth: Points) -> dict[str, Tensor]:
    """All position errors of every sample (see the module's table), in double precision.

    Returns:
        `[B, H]`: mpjpe_mm, mpvpe_mm, both also `_unscaled_mm` and `_wrist_mm`, pa_mpjpe_mm, pa_mpvpe_mm,
        and pixel_px where both sides have 2D joints; `[B]`: pa_pair_mpvpe_mm, mrrpe_mm, mrrpe_wrist_mm;
        `[B, H, J]`: per_joint_mm. Those of vertices only where the prediction has them.

    Raises:
        InputError: an array has another shape, is not finite, or a predicted or true metacarpal has
            no length; the message names the array, the sample and the hand.
    """
    _check(prediction, truth)
    joints, true_joints = prediction.joints.double(), truth.joints.double()
    measured = {"mpjpe": (joints, true_joints)}
    if prediction.vertices is not None:
        measured["mpvpe"] = prediction.vertices.double(), truth.vertices.double()
    ratio = bone_scale(true_joints) / bone_scale(joints)  # [B,H,1,1]
    # True root minus predicted root, [B,H,1,3]: what moves a prediction onto the true root.
    to_middle, to_wrist = (true_joints[:, :, [r]] - joints[:, :, [r]] for r in (ROOT_JOINT, WRIST_JOINT))
    to_middle_scaled = true_joints[:, :, [ROOT_JOINT]] - ratio * joints[:, :, [ROOT_JOINT]]
    errors = {}
    for name, (points, target) in measured.items():
        scaled = _distance_mm(ratio * points + to_middle_scaled, target)  # [B,H,P]
        errors[f"{name}_mm"] = scaled.mean(-1)
        errors[f"{name}_unscaled_mm"] = _distance_mm(points + to_middle, target).mean(-1)
        errors[f"{name}_wrist_mm"] = _distance_mm(points + to_wrist, target).mean(-1)
        errors[f"pa_{name}_mm"] = _distance_mm(procrustes(points, target), target).mean(-1)
        if name == "mpjpe":
            errors["per_joint_mm"] = scaled
    if "mpvpe" in measured:
        pair, true_pair = (points.flatten(1, 2) for points in measured["mpvpe"])  # [B,HV,3]
        errors["pa_pair_mpvpe_mm"] = _distance_mm(procrustes(pair, true_pair), true_pair).mean(-1)
    for name, root in (("mrrpe_mm", ROOT_JOINT), ("mrrpe_wrist_mm", WRIST_JOINT)):
        errors[name] = _distance_mm(relative_root(joints, root), relative_root(true_joints, root))
    if prediction.joints_2d is not None and truth.joints_2d is not None:
        shift = prediction.joints_2d.double() - truth.joints_2d.double()
        errors["pixel_px"] = torch.linalg.vector_norm(shift, dim=-1).mean(-1)
    return errors


def procrustes(points: Tensor, target: Tensor) -> Tensor:
    """Points `[..., P, 3]` moved, turned and scaled onto their target by least squares (Umeyama 1991).

    Never mirrored; where the points coincide, all are at the target's mean.
    """
    mean, target_mean = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    centred, target_centred = points - mean, target - target_mean
    u, singular, vh = torch.linalg.svd(target_centred.transpose(-1, -2) @ centred)  # [...,3,3]
    sign = torch.ones_like(singular)
    sign[..., 2] = torch.linalg.det(u @ vh).sign()  # the reflection is undone on the weakest axis
    rotation = u @ (sign[..., None] * vh)
    spread = centred.square().sum((-1, -2)).clamp_min(torch.finfo(points.dtype).tiny)
    scale = (singular * sign).sum(-1) / spread
    return scale[..., None, None] * centred @ rotation.transpose(-1, -2) + target_mean


def view_angle(joints: Tensor) -> Tensor:
    """From which side the camera sees each hand: `[B, H]` degrees, 0 into the palm, 180 on the back.

    The angle between the palm's normal and the direction from the root joint to the camera's centre. The
    normal of the plane through the wrist and the bases of index and little finger leaves the hand on the
    palm's side. Joints `[B, H, J, 3]` in the camera's frame, any unit.
    """
    wrist = joints[:, :, WRIST_JOINT]
    normal = torch.linalg.cross(joints[:, :, INDEX] - wrist, joints[:, :, PINKY] - wrist)
    mirrored = torch.ones(joints.shape[1], 1).to(joints)
    mirrored[LEFT] = -1  # the left hand is the right one's mirror image
    cosine = functional.cosine_similarity(mirrored * normal, -joints[:, :, ROOT_JOINT], dim=-1)
    return torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))


def concatenate(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The errors of all samples from those of batches of any size."""
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def error_table(errors: dict[str, Tensor], samples: pd.DataFrame) -> pd.DataFrame:
    """One line per sample and hand: index, the columns of `samples`, hand ("left" or "right"), every error.

    Errors `[B]` of a pair stand on both hands' lines; those by joint are left out (see `joint_means`).
    `samples` has B lines that describe the samples (image_id, subject, iou, ...).
    """
    table = samples.reset_index(drop=True).rename_axis("index").reset_index()
    table = table.loc[table.index.repeat(len(HANDS))].reset_index(drop=True)
    table["hand"] = np.tile(HANDS, len(samples))
    for name, value in errors.items():
        if value.dim() < 3:
            both_hands = value if value.dim() == 2 else value[:, None].expand(-1, len(HANDS))
            table[name] = both_hands.reshape(-1).cpu().numpy()
    return table


def means(table: pd.DataFrame) -> dict[str, float]:
    """name -> mean of each error of an `error_table`: over samples, then over both hands.

    NaN is left out, and so is a column of nothing else.
    """
    names = [name for name in table.columns if name.endswith(UNITS)]
    by_hand = table.groupby("hand", sort=False)[names].mean()  # one line per hand
    return {name: float(value) for name, value in by_hand.mean().dropna().items()}


def joint_means(errors: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """hand -> joint -> mean of `per_joint_mm` over samples."""
    average = errors["per_joint_mm"].mean(0).tolist()  # [H,J]
    return {hand: dict(zip(JOINTS, row, strict=True)) for hand, row in zip(HANDS, average, strict=True)}


def _distance_mm(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances `[...]` in mm of points `[..., 3]` in metres."""
    x, y, z = (a - b).square().unbind(-1)  # faster than a norm over an axis of three
    return (x + y + z).sqrt() * MM


def _check(prediction: Points, truth: Points) -> None:
    """Refuse arrays of a wrong shape, values that are not finite and hands without size."""
    count = len(truth.joints)
    for side, points in (("prediction", prediction), ("truth", truth)):
        shapes = {"vertices": (VERTEX_COUNT, 3), "joints": (JOINT_COUNT, 3), "joints_2d": (JOINT_COUNT, 2)}
        for name, tail in shapes.items():
            array = getattr(points, name)
            if array is None:
                continue
            expected = (count, len(HANDS), *tail)
            if tuple(array.shape) != expected:
                raise InputError(f"{side} {name}: shape {list(array.shape)}; expected {list(expected)}")
            _refuse(~array.isfinite().flatten(2).all(-1), f"{side} {name}", "is NaN or infinite")
        _refuse(bone_scale(points.joints)[..., 0, 0] <= 0, f"{side} joints", "has a metacarpal of length 0")


def _refuse(bad: Tensor, name: str, what: str) -> None:
    """Raise for the first bad sample and hand of `[B, H]`."""
    if bad.any():
        sample, hand = bad.nonzero()[0].tolist()
        raise InputError(f"{name}: sample {sample}, hand {HANDS[hand]} {what}; {int(bad.sum())} such hands")
