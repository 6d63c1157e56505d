"""Is a prediction of the truth's hands: of the same pairs, order, sides, axes and image?

Each check looks at some of the pairs and asks what a bad method cannot fail: whether another order, exchange,
turn or image of the whole file would fit far better.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from handdgcl.evaluate.handfile import HandFile
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale, project, root_aligned
from handdgcl.hands.topology import HANDS, JOINTS, ROOT_JOINT

LOOKED_AT = 200  # pairs
LONGEST_EDGE = 4.0  # of the true ones: the median edge of vertices in another order is tens of it
NEARER = 0.8  # another order of joints is found where it makes those it moves so much nearer
STILL_HANDS = 0.1  # metacarpals that joints move over the pairs
TURN_DEG, TURN_GAIN, TURN_PAIRS = 60, 3.0, 5  # one turn of all hands that fits this much better: other axes
MANY_PAIRS = 20  # of fewer, another order might fit far better by chance
SIZES = 0.5, 2.0  # of the true hands in the image: beyond, hands of the right shape are in another one
FAR_OFF = 2.0  # mean distances of a hand's points from its middle: a method may be a little off everywhere


def check_order(file: HandFile, truth: HandFile, hands: Hands) -> None:
    """Joints without vertices: no other order or exchange of hands brings them nearer to the true ones.

    Of few pairs, whose fingers may be mistaken for each other, much nearer.

    Raises:
        InputError: one does; the message names the joint.
    """
    centred = lambda joints: joints - joints.mean(2, keepdim=True)  # whatever the order is
    shape = lambda of: torch.nn.functional.normalize(centred(joints_of(of, hands)), dim=(2, 3))
    ours, true = shape(file), shape(truth)
    enough = NEARER if len(file) >= TURN_PAIRS else NEARER / 2
    as_given, exchanged = ((each - true).norm(dim=-1).median() for each in (ours, ours.flip(1)))
    if exchanged < enough * as_given:
        raise InputError(f"{file.name}: joints_left fit the true right hands better; exchange or mirror them")
    for hand, name in enumerate(HANDS):
        off = torch.cdist(ours[:, hand], true[:, hand]).median(0).values  # [J, J]
        found = torch.from_numpy(linear_sum_assignment(off)[1])
        moved = found != torch.arange(len(found))
        if off[moved, found[moved]].sum() < enough * off.diagonal()[moved].sum():
            joint = int(moved.nonzero()[0])
            raise InputError(
                f"{file.name}: joints_{name}: {JOINTS[joint]} lies nearer to the true {JOINTS[found[joint]]} "
                f"than to its own; give the order {', '.join(JOINTS)}"
            )


def check_flip(prediction: HandFile, truth: HandFile, hands: Hands) -> None:
    """The prediction is not of the mirrored image, where each hand looks like the other one.

    Raises:
        InputError: exchanged and mirrored, its hands fit far better.
    """
    ours, true = (aligned(file, hands) for file in (prediction, truth))
    mirror = torch.tensor([-1.0, 1, 1], dtype=ours.dtype)
    as_given, back = ((each - true).norm(dim=-1).median() for each in (ours, ours.flip(1) * mirror))
    if TURN_GAIN * back < as_given:
        sides = "joints_left, joints_right" if prediction.vertices is None else "left, right"
        raise InputError(
            f"{prediction.name}: {sides}: exchanged and mirrored they would fit {as_given / back:.0f} "
            "times better, as hands of a flipped image do; exchange left and right and negate x"
        )


def check_pairs(prediction: HandFile, truth: HandFile, hands: Hands) -> None:
    """Where no `image_id` joins the files, no other order of the first pairs fits far better.

    Raises:
        InputError: one does.
    """
    if not (prediction.image_id is None or truth.image_id is None) or len(prediction) < MANY_PAIRS:
        return
    joints = (file.points(slice(0, LOOKED_AT), hands).joints for file in (prediction, truth))
    off = torch.cdist(*(root_aligned(each, each).flatten(1) for each in joints))
    before, after = off.diagonal().median(), off[linear_sum_assignment(off)].median()
    if TURN_GAIN * after < before:
        raise InputError(
            f"{prediction.name}: image_id: another order of its pairs would fit {before / after:.0f} times "
            f"better; give image_id in both files, or the pairs in the order of {truth.name}"
        )


def check_pixels(prediction: HandFile, truth: HandFile, hands: Hands) -> str | None:
    """The hands are seen where the true ones are: by the given pixels, or by the truth's camera.

    Args:
        prediction: with pixels, or before the camera.
        truth: with intrinsics, before the camera.
        hands: the model whose vertices these are.

    Returns:
        a note where there are too few pairs to be sure.

    Raises:
        InputError: pixels of another image or camera, of exchanged hands, in another order or other axes.
    """
    K, given = share(truth.intrinsics)[:, None], prediction.pixels is not None
    alone = prediction.vertices is None and not given
    seen = share(prediction.pixels) if given else project(share(prediction.points_3d), K)
    true = project(joints_of(truth, hands) if alone else share(truth.vertices), K)
    name = f"{prediction.name}: {'left_px, right_px' if given else 'left, right seen by the true intrinsics'}"
    _check_image(seen, true, name)
    off = lambda points: (points - true).norm(dim=-1).mean((1, 2)).median()
    for other, remedy in ((seen.flip(1), "exchange left and right"), (seen.flip(-1), "give x before y")):
        if TURN_GAIN * off(other) < off(seen):
            raise InputError(f"{name}: they would fit {off(seen) / off(other):.0f} times better; {remedy}")
    for hand, side in enumerate(() if alone else HANDS):
        length = lambda points: edge_lengths(points[:, hand], hands.faces[hand]).median(1).values  # noqa: B023
        ratio = (length(seen) / length(true)).median()
        if ratio > LONGEST_EDGE:
            raise InputError(
                f"{name}: the {side} edges are {ratio:.1f} times as long as the true ones; give the vertices "
                "in the hand model's order"
            )
    scale = _spread(true).median()  # stands for a metacarpal
    ours, true = ((points - points.mean(2, keepdim=True)).flatten(1, 2) / scale for points in (seen, true))
    return _refuse_turned(ours, true, "hands", name, "x right, y down")


def _check_image(seen: Tensor, true: Tensor, name: str) -> None:
    """Refuse hands `[B, H, P, 2]` px that are right but for their size, or one scale and shift of all."""
    ratio, size = (_spread(seen) / _spread(true)).median(), _spread(true).median()
    off = seen / ratio - true
    shape, shifted, as_given = (
        each.norm(dim=-1).mean((1, 2)).median()
        for each in (off - off.mean(2, keepdim=True), off - off.mean((0, 1, 2)), seen - true)
    )
    moved = TURN_GAIN * shifted < as_given > FAR_OFF * size and len(seen) >= TURN_PAIRS
    if TURN_GAIN * shape < size and (moved or not SIZES[0] < ratio < SIZES[1]):
        raise InputError(
            f"{name}: the hands are {ratio:.2g} times as large as the true ones and {as_given:.3g} px off "
            "(median); give left_px, right_px in the image of the truth's intrinsics, or no intrinsics"
        )


def _spread(points: Tensor) -> Tensor:
    """Mean distance of each hand's points `[B, H, P, D]` from their middle, `[B, H]`, their unit."""
    return (points - points.mean(2, keepdim=True)).norm(dim=-1).mean(2)


def edge_lengths(vertices: Tensor, faces: Tensor) -> Tensor:
    """Length of each edge of meshes `[..., V, D]`, as often as a face has it: `[..., 3 F]`, their unit."""
    start, end = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    return (vertices[..., start, :] - vertices[..., end, :]).norm(dim=-1)


def check_axes(prediction: HandFile, truth: HandFile, hands: Hands, which: str) -> str | None:
    """The prediction's axes are the truth's: no one turn or mirror image of all hands fits far better.

    Args:
        prediction, truth, hands: what is compared.
        which: left, right or both.

    Returns:
        a note where there are too few pairs to be sure.

    Raises:
        InputError: one does.
    """
    of = [HANDS.index(which)] if which in HANDS else range(len(HANDS))
    ours, true = (aligned(file, hands)[:, of].flatten(1, 2) for file in (prediction, truth))
    kind = f"{which} hands" if which in HANDS else "hands"
    return _refuse_turned(ours, true, kind, prediction.name, "x right, y down, z forward")


def _refuse_turned(ours: Tensor, true: Tensor, kind: str, name: str, wanted: str) -> str | None:
    """Refuse points `[B, P, D]`, metacarpals, that one turn or mirror image of all brings far nearer."""
    left, _, right = torch.linalg.svd(ours.flatten(0, 1).T @ true.flatten(0, 1))
    turn = left @ right  # the best of all, which may be a mirror image
    mirrored = bool(torch.linalg.det(turn) < 0)
    angle = float(torch.rad2deg(((turn.trace() - (len(turn) - 2)) / 2).clamp(-1, 1).acos()))
    before, after = ((points - true).norm(dim=-1).median() for points in (ours, ours @ turn))
    if (angle < TURN_DEG and not mirrored) or before < TURN_GAIN * after:
        return None
    change = (
        f"a mirror image of all its {kind}" if mirrored else f"turning all its {kind} by {angle:.0f} degrees"
    )
    said = (
        f"{name}: {change} would lower the median error {before / after:.0f} times, "
        f"so its axes seem to be others than the truth's; {wanted} are wanted"
    )
    still = true.std(0, correction=0).norm(dim=-1).median() < STILL_HANDS
    if len(true) >= TURN_PAIRS and not still:  # of one pose, any hand that is always the same may be so
        raise InputError(said)
    return said


def joints_of(file: HandFile, hands: Hands) -> Tensor:
    """An even share of a file's joints `[B, H, J, 3]` m."""
    return share(file.joints) if file.vertices is None else hands.joints(share(file.vertices))


def aligned(file: HandFile, hands: Hands) -> Tensor:
    """An even share of a file's joints `[B, H, J, 3]`, root at the origin, in metacarpals."""
    joints = joints_of(file, hands)
    return (joints - joints[:, :, [ROOT_JOINT]]) / bone_scale(joints).clamp(min=1e-9)


def share(array: np.ndarray) -> Tensor:
    """An even share of the pairs, double precision."""
    rows = np.unique(np.linspace(0, len(array) - 1, min(LOOKED_AT, len(array))).round().astype(int))
    return torch.from_numpy(array[rows].astype(np.float64))
