"""Do a file's arrays mean what they must? What is plausible and wrong would be scored without a word.

Here each file on its own, and what is doubtful; agreement.py compares the two. Each check asks what a bad
method cannot fail: a whole file in another order of vertices, joints, hands or axes.
"""

import torch
from torch import Tensor

from handdgcl.evaluate.agreement import (
    LONGEST_EDGE,
    check_axes,
    check_flip,
    check_order,
    check_pairs,
    edge_lengths,
    joints_of,
    share,
)
from handdgcl.evaluate.handfile import HandFile, in_order_of
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, JOINTS

SAME_JOINTS_M = 0.001
INSIDE_OUT = 0.1  # share of the model's volume: a mirrored mesh has all of it, a mean one next to none
STILL_M = 0.005  # a relative root that moves less over the pairs stands still
JOINTS_OFF_M = 0.03  # given joints from the vertices' own: more is another unit or frame


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
    check_flip(prediction, truth, hands)
    check_pairs(prediction, truth, hands)
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
    vertices, few = share(file.vertices), {}
    for hand, name in enumerate(HANDS):
        faces, template = hands.faces[hand], hands.template[hand].double()
        ratio = edge_lengths(vertices[:, hand], faces) / edge_lengths(template, faces)
        ratio = ratio.median(1).values.median()
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
    own, given = hands.joints(share(file.vertices)), share(file.joints)
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


def _wander(file: HandFile, hands: Hands) -> float:
    """How much the way from the left hand to the right one changes over the pairs, m.

    From a joint, or middle, to the same one: the least of all, as a hand may be centred on any of them.
    """
    joints = joints_of(file, hands)
    points = joints if file.vertices is None else share(file.vertices)
    middles = joints.mean(2), points.mean(2), (points.amax(2) + points.amin(2)) / 2
    ways = torch.cat([joints, torch.stack(middles, 2)], 2).diff(dim=1)[:, 0]  # [B,J+3,3]
    return float(ways.std(0, correction=0).norm(dim=-1).min())
