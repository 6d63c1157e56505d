"""The losses of section 3.4, term by term, unweighted; `total` weighs them as eqs. 7-9 and 11.

Units (3D terms): roots at the origin, lengths in |J9 - J0| of the true hand, so all poses count
alike; L_length is in millimetres and teaches the scale, L_2d is in pixels of the crop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from handdgcl.config import Loss
from handdgcl.data.batch import HandBatch
from handdgcl.data.camera import bone_scale
from handdgcl.hands.topology import BONES, LEFT, RIGHT, ROOT_JOINT
from handdgcl.model.network import Output

MM_PER_M = 1000


@dataclass
class Target:
    """Ground truth in the losses' units.

    Attributes:
        vertices: `[B, H, V, 3]`, joints: `[B, H, J, 3]`: root at the origin, units of |J9 - J0|.
        scale: `[B, H]` metres, |J9 - J0|.
        relative_root: `[B, 3]`, left root - right root, units of the mean |J9 - J0| of both hands.
        joints_2d: `[B, H, J, 2]` px of the crop.
    """

    vertices: Tensor
    joints: Tensor
    scale: Tensor
    relative_root: Tensor
    joints_2d: Tensor


def target_of(batch: HandBatch) -> Target:
    """The target of a batch."""
    root = batch.joints[:, :, ROOT_JOINT : ROOT_JOINT + 1]
    unit = bone_scale(batch.joints)
    scale = unit[..., 0, 0]
    return Target(
        vertices=(batch.vertices - root) / unit,
        joints=(batch.joints - root) / unit,
        scale=scale,
        relative_root=(root[:, LEFT, 0] - root[:, RIGHT, 0]) / scale.mean(1, keepdim=True),
        joints_2d=batch.joints_2d,
    )


def reconstruction_terms(output: Output, joints: Tensor, target: Target) -> dict[str, Tensor]:
    """L_main (eq. 8) and the parts of L_aux (eq. 9) that every row has.

    Args:
        output: the network's output.
        joints: `[B, H, J, 3]`, the regressor on `output.vertices`.
        target: ground truth.
    """
    s, t = output.camera[..., None, :1], output.camera[..., None, 1:]
    bones, true_bones = bone_lengths(joints), bone_lengths(target.joints)
    length_mm = MM_PER_M * (output.scale[..., None] * bones - target.scale[..., None] * true_bones)
    off = output.vertices - target.vertices
    # L_transition compares left vertex - right vertex of both sides; differences may change places.
    apart = hand_difference(off, output.relative_root - target.relative_root)
    return {
        "joints_3d": (joints - target.joints).abs().mean(),
        "vertices_3d": off.abs().mean(),
        "joints_2d": (s * joints[..., :2] + t - target.joints_2d).abs().mean(),
        "length": length_mm.abs().mean(),
        "transition": apart.abs().mean(),
    }


def consistent(pose: Tensor, target: Target) -> Tensor:
    """L_consistent = ‖J_k - J̄_k‖₁, eq. 10, averaged; pose `[B, H, J, 3]` is J_k = MLP(G^), eq. 4."""
    return (pose - target.joints).abs().mean()


def bone_lengths(joints: Tensor) -> Tensor:
    """Lengths `[..., 20]` of the bones of `[..., J, 3]`, the unit of the joints."""
    parent, child = torch.tensor(BONES, device=joints.device).unbind(1)
    # Not torch.norm: its gradient at 0 is NaN, and an untrained network can have a bone of length 0.
    return ((joints[..., child, :] - joints[..., parent, :]) ** 2).sum(-1).clamp(min=1e-12).sqrt()


def hand_difference(vertices: Tensor, relative_root: Tensor) -> Tensor:
    """Left vertex - right vertex for each pair of equal index, `[B, V, 3]` (L_transition)."""
    return vertices[:, LEFT] + relative_root[:, None] - vertices[:, RIGHT]


def total(terms: dict[str, Tensor], weights: Loss) -> Tensor:
    """L of eq. 7. Terms that a row does not have are absent.

    Eq. 11 prints L_DGCLNet = -λ7 (L_cross + L_self), which would drive S_p away from S_g; both are
    meant to fall, so L_DGCLNet = λ7 (cross · L_cross - L_self) with `loss.cross` = 1; -1 is the print.
    """
    signs = {"self": -weights.contrast, "cross": weights.contrast * weights.cross}
    return sum(
        (signs[name] if name in signs else getattr(weights, name)) * term for name, term in terms.items()
    )
