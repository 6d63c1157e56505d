"""Any method's hands measured by the code that measures ours."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from handdgcl.data.crop import IOU_BINS, IOU_TITLES, hand_overlap
from handdgcl.evaluate.agreement import check_pixels
from handdgcl.evaluate.handfile import HandFile, have_own_roots
from handdgcl.evaluate.interaction import (
    ERRORS,
    failures,
    interaction_errors,
    mask_errors,
    true_interaction,
    true_masks,
)
from handdgcl.evaluate.plausible import checked
from handdgcl.hands import Hands
from handdgcl.hands.camera import project, square_crop
from handdgcl.hands.contact import sealed_faces
from handdgcl.hands.topology import FINGERS, HANDS
from handdgcl.model.metrics import Points, error_table, joint_means, means, position_errors

TURNED = 4  # times: a turn of each hand lowers a network's error two or three times
PCK_MM = 50  # the PCK curve runs from 0 to here, in steps of 1 mm
PAIR_ERRORS = {"mrrpe_mm", "mrrpe_wrist_mm", "pa_pair_mpvpe_mm", *ERRORS}  # of one hand's place to the other
_CHUNK = 256  # pairs at a time
_ROUNDING = 1e-6  # mm: a root's own error is 0 only up to rounding
_CROP_PX, _FILL = 256, 0.8  # the benchmark's crop, in which overlap is measured


class Protocol(NamedTuple):
    """How an error is measured."""

    title: str
    root: str
    scale: str
    unit: str


_MCP, _WRIST, _BONE, _FIT, _NONE = "middle MCP", "wrist", "metacarpal", "fitted", "none"

PROTOCOL = {
    "mpjpe_mm": Protocol("MPJPE (Tables 1-2)", _MCP, _BONE, "mm"),
    "mpvpe_mm": Protocol("MPVPE (Tables 1-2)", _MCP, _BONE, "mm"),
    "mpjpe_unscaled_mm": Protocol("MPJPE", _MCP, _NONE, "mm"),
    "mpvpe_unscaled_mm": Protocol("MPVPE", _MCP, _NONE, "mm"),
    "mpjpe_wrist_mm": Protocol("MPJPE", _WRIST, _NONE, "mm"),
    "mpvpe_wrist_mm": Protocol("MPVPE", _WRIST, _NONE, "mm"),
    "pa_mpjpe_mm": Protocol("PA-MPJPE", _FIT, _FIT, "mm"),
    "pa_mpvpe_mm": Protocol("PA-MPVPE", _FIT, _FIT, "mm"),
    "pa_pair_mpvpe_mm": Protocol("PA-MPVPE, both hands as one", _FIT, _FIT, "mm"),
    "mrrpe_mm": Protocol("MRRPE", _MCP, _NONE, "mm"),
    "mrrpe_wrist_mm": Protocol("MRRPE", _WRIST, _NONE, "mm"),
    "pck_0_50mm_auc": Protocol("AUC of joint PCK, 0-50 mm", _MCP, _BONE, "share"),
    "pixel_px": Protocol("Joint pixel error", _NONE, _NONE, "px"),
    "mask_iou": Protocol("Mask IoU", _NONE, _NONE, "share"),
    "mask_pair_iou": Protocol("Mask IoU, both hands as one", _NONE, _NONE, "share"),
    "penetration_depth_mm": Protocol("Penetration, depth", _NONE, _NONE, "mm"),
    "true_penetration_depth_mm": Protocol("  of the truth", _NONE, _NONE, "mm"),
    "penetration_volume_cm3": Protocol("Penetration, volume", _NONE, _NONE, "cm3"),
    "true_penetration_volume_cm3": Protocol("  of the truth", _NONE, _NONE, "cm3"),
    "contacts_kept_share": Protocol("True contacts kept, 3 mm", _NONE, _NONE, "share"),
    "contact_deviation_mm": Protocol("Contact deviation", _NONE, _NONE, "mm"),
    "true_contact_deviation_mm": Protocol("  of the truth", _NONE, _NONE, "mm"),
}


class Pairs(NamedTuple):
    """What is compared, and with which camera."""

    prediction: HandFile
    truth: HandFile
    hands: Hands
    camera: bool  # the prediction can be seen in the image


def score(prediction: HandFile, truth: HandFile, hands: Hands, *, interaction: bool = True) -> dict:
    """Measure predicted against true hands: all metrics of this project.

    Args:
        prediction, truth: the same N pairs, in the same order or with `image_id`.
        hands: the model whose vertices these are; gives joints and faces.
        interaction: also penetration, contacts and masks, which are most of the work.

    Returns:
        what `handdgcl score` writes as JSON.

    Raises:
        InputError: the files do not fit together, are not of this hand model, a metacarpal has no length, or
            some hands are behind the camera; the message names file, array and sample.
    """
    prediction, doubt = checked(prediction, truth, hands)
    seen = truth.intrinsics is not None and truth.is_in_front(required=True)
    camera = seen and (prediction.pixels is not None or prediction.is_in_front())
    if camera and (said := check_pixels(prediction, truth, hands)):
        doubt.append(said)
    pairs = Pairs(prediction, truth, hands, camera)
    errors, own_roots = {}, {prediction.name: True, truth.name: True}
    overlap = np.empty(len(truth), np.float32)
    for start in tqdm(range(0, len(truth), _CHUNK), desc="score", leave=False, disable=None):
        rows = slice(start, start + _CHUNK)
        points, true = (file.points(rows, hands) for file in (prediction, truth))
        for file, its in ((prediction, points), (truth, true)):
            own_roots[file.name] &= have_own_roots(its)
        if seen:
            overlap[rows] = _overlap(project(true.vertices, truth.camera(rows)), hands)
        for name, value in _errors(pairs, points, true, rows, interaction=interaction).items():
            if name not in errors:  # one tensor for all: many small ones would fragment the memory
                errors[name] = value.new_empty(len(truth), *value.shape[1:])
            errors[name][rows] = value
    together = [name for name, own in own_roots.items() if own]
    if together:  # then nothing is known of where one hand is to the other
        errors = {name: value for name, value in errors.items() if name not in PAIR_ERRORS}
    about = pd.DataFrame({"iou": overlap} if seen else {}, index=range(len(truth)))
    table = error_table(errors, about)
    summary = _summary(table, errors, pairs)
    return summary | {"notes": doubt + _notes(pairs, together, summary["metrics"])}


def pck_curve(per_joint_mm: Tensor) -> np.ndarray:
    """Share of all joints `[..., J]` with an error of at most 0, 1, …, `PCK_MM` mm, `[PCK_MM + 1]`."""
    found = np.sort(per_joint_mm.reshape(-1).numpy())
    return np.searchsorted(found, np.arange(PCK_MM + 1) + _ROUNDING, side="right") / len(found)


def pck_auc(per_joint_mm: Tensor) -> Tensor:
    """Area under the PCK curve of each hand's joints `[..., J]` from 0 to `PCK_MM` mm, over its width.

    In closed form, not a sum over thresholds: an error e is within the threshold on the share 1 - e / PCK_MM.
    """
    return (1 - per_joint_mm / PCK_MM).clamp(min=0).mean(-1)


def _errors(
    pairs: Pairs, points: Points, true: Points, rows: slice, *, interaction: bool
) -> dict[str, Tensor]:
    """All errors of some pairs."""
    prediction, truth, hands, camera = pairs
    if camera:
        K = truth.camera(rows)
        if prediction.pixels is None:
            joints_2d = project(points.joints, K)
            points_2d = None if points.vertices is None else project(points.vertices, K)
        else:  # the joints of the pixels are those in the image where the camera is a weak perspective
            points_2d = torch.from_numpy(prediction.pixels[rows].astype(np.float64))
            joints_2d = hands.joints(points_2d)
        points = Points(points.vertices, points.joints, joints_2d)
        true = Points(true.vertices, true.joints, project(true.joints, K))
    errors = position_errors(points, true)
    errors["pck_0_50mm_auc"] = pck_auc(errors["per_joint_mm"])
    if interaction and points.vertices is not None:
        faces = sealed_faces(hands)
        errors |= interaction_errors(points.vertices, true_interaction(true.vertices, faces), faces)
        if camera:
            errors |= mask_errors(points_2d, true_masks(project(true.vertices, K), hands.faces), hands.faces)
    return errors


def _overlap(points_2d: Tensor, hands: Hands) -> np.ndarray:
    """Overlap of the true hands in the benchmark's crop, `[B]`, as prepared data has it."""
    points = points_2d.numpy()
    crops = square_crop(points.reshape(len(points), -1, 2), fill=_FILL, size=_CROP_PX)[:, None, None]
    return hand_overlap(points * crops[..., 0, [0]] + crops[..., 2], hands.faces.numpy(), size=_CROP_PX)


def _summary(table: pd.DataFrame, errors: dict[str, Tensor], pairs: Pairs) -> dict:
    """All that is said of the samples."""
    joints = joint_means(errors)
    fingers = {
        hand: {f: float(np.mean([v for joint, v in line.items() if joint.startswith(f)])) for f in FINGERS}
        for hand, line in joints.items()
    }
    source = {
        side: "regressed from the vertices" if getattr(pairs, side).joints is None else "given"
        for side in ("prediction", "truth")
    }
    of_hand = [name for name, value in errors.items() if value.dim() > 1]  # not of the pair
    by_hand = {hand: means(table[table["hand"] == hand]) for hand in HANDS}
    return {
        "pairs": len(pairs.truth),
        "prediction": pairs.prediction.name,
        "truth": pairs.truth.name,
        "joints": source,
        "protocol": {name: line._asdict() for name, line in PROTOCOL.items() if name in table},
        "metrics": means(table),
        "by_hand": {hand: {n: v for n, v in line.items() if n in of_hand} for hand, line in by_hand.items()},
        "by_overlap": _by_overlap(table) if "iou" in table else {},
        "not_measured": failures(errors) if "true_contacts" in errors else {},
        "pairs_with_true_contact": int((errors.get("true_contacts", torch.zeros(0)) > 0).sum()),
        "per_joint_mm": joints,
        "per_finger_mm": fingers,
        "pck": {"to_mm": PCK_MM, "share": pck_curve(errors["per_joint_mm"]).tolist()},
    }


def _by_overlap(table: pd.DataFrame) -> dict:
    """The means again, by overlap of the two hands in the image; the last bin holds its upper end."""
    place = np.digitize(table["iou"], IOU_BINS[1:-1])
    groups = {title: table[place == k] for k, title in enumerate(IOU_TITLES)}
    return {
        title: {"pairs": len(lines) // len(HANDS), "metrics": means(lines)} for title, lines in groups.items()
    }


def _notes(pairs: Pairs, together: list[str], metrics: dict[str, float]) -> list[str]:
    """What was not measured or is doubtful; `together`: files whose hands have their root in common."""
    files = pairs.prediction, pairs.truth
    notes = [f"{file.name}: ignored {', '.join(file.ignored)}" for file in files if file.ignored]
    if pairs.prediction.vertices is None:
        notes.append(f"{pairs.prediction.name}: joints alone: no vertex errors, collisions, contacts, masks")
    if pairs.truth.intrinsics is None:
        notes.append("the truth has no intrinsics: no pixel error, no masks, no bins by overlap")
    elif not pairs.camera:
        said = "is not in front of the camera and has no left_px, right_px: no pixel error, no masks"
        notes.append(f"{pairs.prediction.name} {said}")
    if metrics["mpjpe_mm"] > TURNED * metrics["pa_mpjpe_mm"]:
        notes.append("MPJPE is far above PA-MPJPE: are the hands in the truth's axes and camera frame?")
    return notes + [
        f"{name}: both hands have their root at one place in every pair, so nothing is known of where one is "
        "to the other: no MRRPE, no error of both as one, no penetration, no contacts"
        for name in together
    ]


def score_table(summary: dict) -> str:
    """The summary of a score as text: errors, fingers below, then what could not be measured."""
    bins, fingers, failed = (summary[name] for name in ("by_overlap", "per_finger_mm", "not_measured"))
    groups = [summary["metrics"], *summary["by_hand"].values(), *(b["metrics"] for b in bins.values())]
    names = [name for name in PROTOCOL if name in summary["metrics"]]
    number = lambda value: "-" if value is None else f"{value:.3f}"
    lines = [[*PROTOCOL[name], *(number(group.get(name)) for group in groups)] for name in names]
    lines.append(["pairs", "", "", "", summary["pairs"], "", "", *(b["pairs"] for b in bins.values())])
    heads = ["error", "root", "scale", "unit", "both", *HANDS, *(f"overlap {title}" for title in bins)]
    below = [[hand, *(number(fingers[hand][finger]) for finger in FINGERS)] for hand in HANDS]
    layout = {"tablefmt": "plain", "disable_numparse": True, "preserve_whitespace": True}
    layout |= {"colglobalalign": "right"}
    texts = [tabulate(lines, heads, **layout, colalign=["left"]), ""]
    texts += [tabulate(below, ["MPJPE by finger, mm", *FINGERS], **layout, colalign=["left"])]
    texts += [f"not measured: {name} of {count} pairs" for name, count in failed.items() if count]
    return "\n".join(texts + summary["notes"])
