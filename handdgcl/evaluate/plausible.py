"""Do a file's arrays mean what they must? What is plausible and wrong would be scored without a word.

Each check looks at an even share of the pairs and asks what a bad method cannot fail: a whole file in another
order of vertices, joints, hands or axes.
"""

import numpy as np
import torch
from torch import Tensor

from handdgcl.evaluate.handfile import HandFile, in_order_of
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.topology import HANDS, JOINTS, ROOT_JOINT

LOOKED_AT = 200  # pairs
LONGEST_EDGE = 4.0  # of the model's own: the median edge of vertices in another order is tens of it
SAME_JOINTS_M = 0.001
JOINTS_OFF_M = 0.03  # given joints from the vertices' own: more is another unit or frame
TURN_DEG, TURN_GAIN, TURN_PAIRS = 60, 3.0, 5  # one turn of all hands that fits this much better: other axes


def checked(prediction: HandFile, truth: HandFile, hands: Hands) -> tuple[HandFile, list[str]]:
    """The prediction in the truth's order, and what is doubtful about it.

    Raises:
        InputError: the two files do not hold the same pairs, of this hand model, in the same axes.
    """
    if len(prediction) != len(truth):
        raise InputError(f"{prediction.name}: {len(prediction)} pairs; {truth.name} has {len(truth)}")
    prediction = in_order_of(prediction, truth)
    if truth.vertices is None:
        raise InputError(f"{truth.name}: left and right are missing; the truth needs vertices, [N, 778, 3]")
    for file in (prediction, truth):
        if file.vertices is None:
            check_order(file, truth, hands)
        else:
            check_meshes(file, hands)
            check_joints(file, hands)
    notes = check_axes(prediction, truth, hands), other_joints(truth, hands)
    return prediction, [note for note in notes if note]


def check_meshes(file: HandFile, hands: Hands) -> None:
    """Vertices in the model's order, a left hand on the left and a right hand on the right.

    Raises:
        InputError: they are not; the message says which hand and what it seems to be.
    """
    vertices = _share(file.vertices)
    for hand, name in enumerate(HANDS):
        faces, template = hands.faces[hand], hands.template[hand].double()
        edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
        length = lambda points: (points[..., edges[0], :] - points[..., edges[1], :]).norm(dim=-1)  # noqa: B023
        ratio = (length(vertices[:, hand]) / length(template)).median(1).values.median()
        if ratio > LONGEST_EDGE:
            raise InputError(
                f"{file.name}: {name}: its edges are {ratio:.1f} times as long as the hand model's, so its "
                "vertices are in another order, or of another model (--hands)"
            )
        if signed_volume(vertices[:, hand], faces).median() < 0:
            raise InputError(
                f"{file.name}: {name}: the mesh is inside out, as that of the other hand or a mirrored one "
                "is; exchange left and right, or mirror it"
            )


def signed_volume(vertices: Tensor, faces: Tensor) -> Tensor:
    """`[B]` volume of meshes `[B, V, 3]` about their middle; negative where faces point inwards."""
    corner = (vertices - vertices.mean(1, keepdim=True))[:, faces]  # [B,F,3,3]
    return torch.linalg.det(corner).sum(-1) / 6


def check_joints(file: HandFile, hands: Hands) -> None:
    """Given joints are those of the vertices, each in its place.

    Raises:
        InputError: they are not; the message names the joint.
    """
    if file.joints is None:
        return
    own, given = hands.joints(_share(file.vertices)), _share(file.joints)
    for hand, name in enumerate(HANDS):
        off = torch.cdist(given[:, hand], own[:, hand]).median(0).values  # [J, J]
        for joint, found in enumerate(off.argmin(1).tolist()):
            if off[joint, joint] > min(JOINTS_OFF_M, 2 * off[joint, found]):
                raise InputError(
                    f"{file.name}: joints_{name}: {JOINTS[joint]} is {off[joint, joint]:.3g} m (median) from "
                    f"that of {name}'s vertices, nearest to {JOINTS[found]}; give metres, the same frame and "
                    f"the order {', '.join(JOINTS)}, or leave them out"
                )


def other_joints(truth: HandFile, hands: Hands) -> str | None:
    """A note where the truth's given joints are not the metric's, the regressor's on the vertices."""
    if truth.joints is None:
        return None
    off = (_share(truth.joints) - hands.joints(_share(truth.vertices))).norm(dim=-1).median()
    if off < SAME_JOINTS_M:
        return None
    return (
        f"{truth.name}: its joints are given, {1000 * off:.1f} mm (median) from those of its vertices, which "
        "Tables 1-2 measure; leave them out to compare with those"
    )


def check_order(file: HandFile, truth: HandFile, hands: Hands) -> None:
    """Joints without vertices: each lies nearer to its own true joint than to another.

    Raises:
        InputError: it does not; the message names the joint.
    """
    ours, true = aligned(file, hands), aligned(truth, hands)
    for hand, name in enumerate(HANDS):
        off = torch.cdist(ours[:, hand], true[:, hand]).median(0).values  # [J, J], in metacarpals
        for joint, found in enumerate(off.argmin(1).tolist()):
            if off[joint, joint] > 2 * off[joint, found]:
                raise InputError(
                    f"{file.name}: joints_{name}: {JOINTS[joint]} lies twice as near to the true "
                    f"{JOINTS[found]} as to its own; give the order {', '.join(JOINTS)}"
                )


def aligned(file: HandFile, hands: Hands) -> Tensor:
    """An even share of a file's joints `[B, H, J, 3]`, root at the origin, in metacarpals."""
    joints = hands.joints(_share(file.vertices)) if file.vertices is not None else _share(file.joints)
    return (joints - joints[:, :, [ROOT_JOINT]]) / bone_scale(joints).clamp(min=1e-9)


def check_axes(prediction: HandFile, truth: HandFile, hands: Hands) -> str | None:
    """The prediction's axes are the truth's: no one turn or mirror image of all its hands fits far better.

    Returns:
        a note where there are too few pairs to be sure.

    Raises:
        InputError: one does.
    """
    ours, true = (aligned(file, hands).reshape(-1, 3) for file in (prediction, truth))
    left, _, right = torch.linalg.svd(ours.T @ true)
    turn = left @ right  # the best of all, which may be a mirror image
    mirrored = bool(torch.linalg.det(turn) < 0)
    angle = float(torch.rad2deg(((turn.trace() - 1) / 2).clamp(-1, 1).acos()))
    before, after = ((points - true).norm(dim=-1).median() for points in (ours, ours @ turn))
    if (angle < TURN_DEG and not mirrored) or before < TURN_GAIN * after:
        return None
    change = (
        "a mirror image of all its hands" if mirrored else f"turning all its hands by {angle:.0f} degrees"
    )
    said = (
        f"{prediction.name}: {change} would lower the median error {before / after:.0f} times, "
        "so its axes seem to be others than the truth's; x right, y down, z forward are wanted"
    )
    if len(prediction) >= TURN_PAIRS:
        raise InputError(said)
    return said


def _share(array: np.ndarray) -> Tensor:
    """An even share of the pairs, double precision."""
    rows = np.unique(np.linspace(0, len(array) - 1, min(LOOKED_AT, len(array))).round().astype(int))
    return torch.from_numpy(array[rows].astype(np.float64))
