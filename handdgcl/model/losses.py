"""The losses of section 3.4, term by term, unweighted; `weights` are those of eqs. 7-9 and 11.

Units (3D terms): roots at the origin, lengths in |J9 - J0| of the true hand, so all poses count
alike; L_length is in millimetres and teaches the scale, L_2d is in pixels of the crop.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from handdgcl.config import Loss
from handdgcl.data.batch import HandBatch
from handdgcl.hands.camera import MM, bone_scale, relative_root, root_aligned, weak_perspective
from handdgcl.hands.topology import BONES, LEFT, RIGHT
from handdgcl.model.network import Output


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
    scale = bone_scale(batch.joints)[..., 0, 0]
    return Target(
        vertices=root_aligned(batch.vertices, batch.joints),
        joints=root_aligned(batch.joints, batch.joints),
        scale=scale,
        relative_root=relative_root(batch.joints) / scale.mean(1, keepdim=True),
        joints_2d=batch.joints_2d,
    )


def reconstruction_terms(output: Output, joints: Tensor, target: Target) -> dict[str, Tensor]:
    """L_main (eq. 8) and the parts of L_aux (eq. 9) that every row has.

    Args:
        output: the network's output.
        joints: `[B, H, J, 3]`, `output.joints_of` the hands.
        target: ground truth.
    """
    bones, true_bones = bone_lengths(joints), bone_lengths(target.joints)
    length_mm = MM * (output.scale[..., None] * bones - target.scale[..., None] * true_bones)
    meshes = output.joints is None  # else a network that says joints alone
    off = output.vertices - target.vertices if meshes else joints - target.joints
    # L_transition compares left vertex - right vertex of both sides; differences may change places.
    apart = off[:, LEFT] + (output.relative_root - target.relative_root)[:, None] - off[:, RIGHT]
    return {
        "joints_3d": (joints - target.joints).abs().mean(),
        **({"vertices_3d": off.abs().mean()} if meshes else {}),
        "joints_2d": (weak_perspective(output.camera, joints) - target.joints_2d).abs().mean(),
        "length": length_mm.abs().mean(),
        "transition": apart.abs().mean(),
    }


def bone_lengths(joints: Tensor) -> Tensor:
    """Lengths `[..., 20]` of the bones of `[..., J, 3]`, the unit of the joints."""
    parent, child = _bones(joints.device)
    # Not torch.norm: its gradient at 0 is NaN, and an untrained network can have a bone of length 0.
    return ((joints[..., child, :] - joints[..., parent, :]) ** 2).sum(-1).clamp(min=1e-12).sqrt()


@cache
def _bones(device: torch.device) -> tuple[Tensor, Tensor]:
    """Parents and children, on the device once: a copy in every step would wait for it."""
    with torch.inference_mode(False):  # the first to ask may be in it, the next one may learn
        return torch.tensor(BONES, device=device).unbind(1)


def weights(loss: Loss) -> dict[str, float]:
    """Term -> weight in L (eq. 7).

    Eq. 11 prints L_DGCLNet = -λ7 (L_cross + L_self), which would drive S_p away from S_g; both are
    meant to fall, so L_DGCLNet = λ7 (cross · L_cross - L_self) with `loss.cross` = 1; -1 is the print.
    """
    names = ("joints_3d", "vertices_3d", "joints_2d", "length", "transition", "consistent")
    found = {name: getattr(loss, name) for name in names}
    return found | {"self": -loss.contrast, "cross": loss.contrast * loss.cross}
