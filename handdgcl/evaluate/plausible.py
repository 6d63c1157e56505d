"""Do a file's arrays mean what they must? What is plausible and wrong would be scored without a word.

Each check looks at an even share of the pairs and asks what a bad method cannot fail: a whole file in another
order of vertices, joints, hands or axes.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from handdgcl.evaluate.handfile import HandFile, in_order_of
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.topology import HANDS, JOINTS, ROOT_JOINT

LOOKED_AT = 200  # pairs
LONGEST_EDGE = 4.0  # of the model's own: the median edge of vertices in another order is tens of it
SAME_JOINTS_M = 0.001
INSIDE_OUT = 0.1  # share of the model's volume: a mirrored mesh has all of it, a mean one next to none
NEARER = 0.8  # another order of joints is found where it makes those it moves so much nearer
STILL_HANDS = 0.1  # metacarpals that joints move over the pairs
STILL_M = 0.005  # a relative root that moves less over the pairs stands still
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
    notes = []
    for file in (prediction, truth):
        if file.vertices is None:
            check_order(file, truth, hands)
        else:
            notes += [check_meshes(file, hands), check_joints(file, hands)]
    notes += [check_axes(prediction, truth, hands, which) for which in ("both", *HANDS)]
    return prediction, [note for note in (*notes, *unsaid(prediction, truth, hands)) if note]


def unsaid(prediction: HandFile, truth: HandFile, hands: Hands) -> list[str]:
    """Notes on what two files do not say of each other."""
    notes = []
    if (prediction.image_id is None) != (truth.image_id is None):
        with_it, without = sorted((prediction, truth), key=lambda file: file.image_id is None)
        notes.append(
            f"{with_it.name} has image_id, {without.name} has none: pairs are taken in the files' order"
        )
    if prediction.intrinsics is not None:
        notes.append(
            f"{prediction.name}: its intrinsics are not read, the truth's are; vertices that another camera "
            "places need left_px, right_px"
        )
    if _wander(prediction, hands) < STILL_M < 4 * STILL_M < _wander(truth, hands):
        notes.append(
            f"{prediction.name}: it is the same way from the left hand to the right one in every pair, as "
            "where each is centred on itself; then MRRPE, penetration and contacts mean nothing"
        )
    return notes


def check_meshes(file: HandFile, hands: Hands) -> str | None:
    """Vertices in the model's order, a left hand on the left and a right hand on the right.

    Returns:
        a note where a few meshes are inside out.

    Raises:
        InputError: they are not; the message says which hand and what it seems to be.
    """
    vertices, few = _share(file.vertices), {}
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
        volume = signed_volume(vertices[:, hand], faces)
        few[name] = float((volume < 0).double().mean())
        if volume.median() < -INSIDE_OUT * signed_volume(
            template[None], faces
        ):  # a mean hand has next to none
            raise InputError(
                f"{file.name}: {name}: the mesh is inside out, as that of the other hand or a mirrored one "
                "is; exchange left and right, or mirror it"
            )
    said = ", ".join(f"{share:.1%} of the {name} ones" for name, share in few.items() if share)
    return said and f"{file.name}: some meshes are inside out, as mirrored or crushed ones are: {said}"


def signed_volume(vertices: Tensor, faces: Tensor) -> Tensor:
    """`[B]` volume of meshes `[B, V, 3]` about their middle; negative where faces point inwards."""
    corner = (vertices - vertices.mean(1, keepdim=True))[:, faces]  # [B,F,3,3]
    return torch.linalg.det(corner).sum(-1) / 6


def check_joints(file: HandFile, hands: Hands) -> str | None:
    """Given joints are those of the vertices, each in its place.

    Returns:
        a note where they are not quite the metric's, the regressor's on the vertices.

    Raises:
        InputError: they are not; the message names the joint.
    """
    if file.joints is None:
        return None
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
    off = (given - own).norm(dim=-1).median(0).values  # [H,J]
    if off.max() < SAME_JOINTS_M:
        return None
    hand, joint = divmod(int(off.argmax()), len(JOINTS))
    return (
        f"{file.name}: its joints are given, the {HANDS[hand]} {JOINTS[joint]} {1000 * off.max():.1f} mm "
        "(median) from that of its vertices, which Tables 1-2 measure; leave them out to compare with those"
    )


def check_order(file: HandFile, truth: HandFile, hands: Hands) -> None:
    """Joints without vertices: no other order or exchange of hands brings them nearer to the true ones.

    Of few pairs, whose fingers may be mistaken for each other, much nearer.

    Raises:
        InputError: one does; the message names the joint.
    """
    centred = lambda joints: joints - joints.mean(2, keepdim=True)  # whatever the order is
    shape = lambda of: torch.nn.functional.normalize(centred(_joints(of, hands)), dim=(2, 3))
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


def _wander(file: HandFile, hands: Hands) -> float:
    """How much the way from the left to the right hand's root, or middle, changes over the pairs, m."""
    joints = _joints(file, hands)
    middle = joints.mean(2) if file.vertices is None else _share(file.vertices).mean(2)
    ways = torch.stack([joints[:, :, ROOT_JOINT], middle]).diff(dim=2)[:, :, 0]  # [2,B,3]
    return float(ways.std(1, correction=0).norm(dim=-1).min())


def _joints(file: HandFile, hands: Hands) -> Tensor:
    """An even share of a file's joints `[B, H, J, 3]` m."""
    return _share(file.joints) if file.vertices is None else hands.joints(_share(file.vertices))


def aligned(file: HandFile, hands: Hands) -> Tensor:
    """An even share of a file's joints `[B, H, J, 3]`, root at the origin, in metacarpals."""
    joints = _joints(file, hands)
    return (joints - joints[:, :, [ROOT_JOINT]]) / bone_scale(joints).clamp(min=1e-9)


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
    ours, true = (aligned(file, hands)[:, of].reshape(-1, 3) for file in (prediction, truth))
    left, _, right = torch.linalg.svd(ours.T @ true)
    turn = left @ right  # the best of all, which may be a mirror image
    mirrored = bool(torch.linalg.det(turn) < 0)
    angle = float(torch.rad2deg(((turn.trace() - 1) / 2).clamp(-1, 1).acos()))
    before, after = ((points - true).norm(dim=-1).median() for points in (ours, ours @ turn))
    if (angle < TURN_DEG and not mirrored) or before < TURN_GAIN * after:
        return None
    all_of = f"all its {which} hands" if which in HANDS else "all its hands"
    change = f"a mirror image of {all_of}" if mirrored else f"turning {all_of} by {angle:.0f} degrees"
    said = (
        f"{prediction.name}: {change} would lower the median error {before / after:.0f} times, "
        "so its axes seem to be others than the truth's; x right, y down, z forward are wanted"
    )
    still = true.view(-1, len(of) * len(JOINTS), 3).std(0, correction=0).norm(dim=-1).median() < STILL_HANDS
    if len(prediction) >= TURN_PAIRS and not still:  # of one pose, any hand that is always the same may be so
        raise InputError(said)
    return said


def _share(array: np.ndarray) -> Tensor:
    """An even share of the pairs, double precision."""
    rows = np.unique(np.linspace(0, len(array) - 1, min(LOOKED_AT, len(array))).round().astype(int))
    return torch.from_numpy(array[rows].astype(np.float64))
