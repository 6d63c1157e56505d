"""What several families share: image maps, targets on them from joints and meshes, joints alone, a judge."""

from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from handdgcl.data.batch import HandBatch
from handdgcl.families.parameters import UPRIGHT, still_at_first
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale, root_aligned
from handdgcl.hands.raster import Fragments, rasterize
from handdgcl.hands.topology import HANDS, JOINT_COUNT, ROOT_JOINT
from handdgcl.model.network import TYPICAL_BONE_M, Output

STRIDE = 4  # of the finest map, px of the crop
SIGMA = 1.0  # of a heat map, px of that map
SHARPNESS = 4  # power of the heat by which places are weighted, so that the background does not count
DRAWN = 4  # meshes are drawn for one image in so many, as drawing costs as much as a step


class Pyramid(nn.Module):
    """Maps at strides 4, 8, 16, 32 of one width, coarse ones added to finer ones (Lin et al., CVPR 2017).

    Those that are used are smoothed by a convolution of their own, as theirs.

    Args:
        widths: of the encoder's stages.
        width: of all maps.
        used: which, fine to coarse from 0.
    """

    def __init__(self, widths: list[int], width: int, used: Collection[int]):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in widths)
        smooth = partial(nn.Conv2d, width, width, 3, padding=1)
        self.smooth = nn.ModuleList(smooth() if k in used else nn.Identity() for k in range(len(widths)))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The encoder's maps, fine to coarse → `[B, width, S_k, S_k]` of the same sizes."""
        out = [self.lateral[-1](maps[-1])]
        for layer, finer in zip(self.lateral[-2::-1], maps[-2::-1], strict=True):
            out.append(layer(finer) + functional.interpolate(out[-1], size=finer.shape[-2:], mode="nearest"))
        return [layer(merged) for layer, merged in zip(self.smooth, out[::-1], strict=True)]


def map_head(width: int, maps: int) -> nn.Sequential:
    """From a pyramid's map to others, nearly 0 at first: far from it, Adam's first steps make it dead."""
    return nn.Sequential(nn.GELU(), still_at_first(nn.Conv2d(width, maps, 1)))


def heat_maps(joints_2d: Tensor, size: int) -> Tensor:
    """exp(-d² / 2σ²) at the centre of each pixel of a map of stride 4.

    Args:
        joints_2d: `[B, H, J, 2]` px of the crop.
        size: S_4, the map's side.

    Returns:
        `[B, H J, S_4, S_4]`.
    """
    centre = torch.arange(size, device=joints_2d.device) + 0.5
    column, row = ((joints_2d[..., k, None] / STRIDE - centre) ** 2 for k in range(2))  # [B,H,J,S]
    squared = column[..., None, :] + row[..., :, None]
    return torch.exp(squared / (-2 * SIGMA**2)).flatten(1, 2)


def heat_loss(heat: Tensor, joints_2d: Tensor) -> Tensor:
    """Squared distance of maps `[B, H J, S_4, S_4]` from `heat_maps`, summed over each, whatever its size."""
    return (heat - heat_maps(joints_2d, heat.shape[-1])).square().sum((2, 3)).mean()


@torch.no_grad()
def visible_hands(batch: HandBatch, hands: Hands, size: int) -> tuple[Tensor, Tensor]:
    """What is seen of each hand, of every `DRAWN`-th image: masks and a dense map.

    Args:
        batch: with `vertices_2d`.
        hands: the mesh.
        size: S_4, side of a map.

    Returns:
        masks `[B', H, S_4, S_4]`, 1 where the hand is the nearer surface; dense `[B', H, 3, S_4, S_4]`, where
        on its template, in [-1, 1], 0 elsewhere.
    """
    seen, faces = nearest_surface(batch, hands, size), both_faces(hands)
    hit, hand = seen.face >= 0, seen.face.clamp(min=0) // hands.faces.shape[1]
    masks = torch.stack([hit & (hand == h) for h in range(len(HANDS))], 1).float()
    place = hands.template - (hands.template.amin(1, keepdim=True) + hands.template.amax(1, keepdim=True)) / 2
    place = (place / place.abs().amax()).flatten(0, 1)
    corners = place[faces[seen.face.clamp(min=0)]]  # [B',S,S,3,3]
    dense = (corners * seen.barycentric[..., None]).sum(-2).permute(0, 3, 1, 2)
    return masks, dense[:, None] * masks[:, :, None]


def both_faces(hands: Hands) -> Tensor:
    """`[2 F, 3]`, of both hands' vertices as one list."""
    count = hands.template.shape[1]
    return torch.cat([hands.faces[h] + h * count for h in range(len(HANDS))])


@torch.no_grad()
def nearest_surface(batch: HandBatch, hands: Hands, size: int, *, stride: int = STRIDE) -> Fragments:
    """What each pixel of a map sees, of every `DRAWN`-th image."""
    points = batch.vertices_2d[::DRAWN].flatten(1, 2) / stride
    depth = batch.vertices[::DRAWN, ..., 2].flatten(1)
    return rasterize(points, depth, both_faces(hands), height=size, width=size)


def under_heat(heat: Tensor) -> Tensor:
    """Each map's share of its own heat by place, `[B, H J, S S]`, from maps `[B, H J, S, S]`."""
    weights = (heat.flatten(2).clamp(min=0) ** SHARPNESS).clamp(min=1e-12)
    return weights / weights.sum(-1, keepdim=True)


def peaks(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Where each map is hottest, `[B, H, J, 2]` px of the map, and how hot `[B, H, J]`, at least 0."""
    centre = torch.arange(heat.shape[-1], device=heat.device) + 0.5
    weights = under_heat(heat).view_as(heat)
    place = torch.stack([weights.sum(2) @ centre, weights.sum(3) @ centre], -1)
    hot = heat.flatten(2).amax(-1).clamp(min=0)
    return tuple(part.unflatten(1, (len(HANDS), JOINT_COUNT)) for part in (place, hot))


def resting(hands: Hands) -> Tensor:
    """Where joints are at rest, `[H, J, 3]`: fingers up in the image, root at the origin, in |J9 - J0|."""
    joints = hands.joints(hands.template[None])[0]
    return root_aligned(joints, joints) @ UPRIGHT.to(joints).mT


def joints_alone(joints: Tensor, root: Tensor, scale: Tensor, bone: Tensor, relative_root: Tensor) -> Output:
    """The output of a network that has no mesh.

    Args:
        joints: `[B, H, J, 3]`, about in units of |J9 - J0|, which is made 1; the camera makes up for it.
        root: `[B, H, 2]` px, where the root joint is in the crop.
        scale: `[B, H]` px, the camera's, for |J9 - J0|.
        bone: `[B, H]`, log of |J9 - J0| over the typical one.
        relative_root: `[B, 3]`, as `Output`'s.
    """
    joints = joints - joints[:, :, ROOT_JOINT : ROOT_JOINT + 1]
    stretch = bone_scale(joints).clamp(min=1e-3)
    camera = torch.cat([(scale[..., None, None] * stretch)[..., 0], root], -1)
    empty = joints.new_zeros(len(joints), len(HANDS), 0, 3)
    bone_m = TYPICAL_BONE_M * bone.exp()
    return Output(empty, bone_m, camera, relative_root, joints / stretch)


def against(judge: nn.Module, made: Tensor, true: Tensor) -> dict[str, Tensor]:
    """What a judge learns, 1 for what is true and 0 for what is made, and what passing for true costs.

    By least squares (Mao et al., ICCV 2017), in float32; neither learns from the other's term.
    """
    with torch.autocast(made.device.type, enabled=False):
        own = ((judge(true) - 1) ** 2).mean() + (judge(made.detach()) ** 2).mean()
        fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
        passes = ((functional_call(judge, fixed, (made,)) - 1) ** 2).mean()
    return {"judge": own, "judged": passes}


class MapHeads(nn.Module):
    """Heat maps, visible masks and dense maps from the finest map of a pyramid; in training only."""

    def __init__(self, width: int):
        super().__init__()
        self.sizes = (len(HANDS) * JOINT_COUNT, len(HANDS), 3 * len(HANDS))
        self.head = map_head(width, sum(self.sizes))

    def terms(self, finest: Tensor, batch: HandBatch, hands: Hands) -> dict[str, Tensor]:
        """heat (`heat_loss`), mask (smooth L1) and dense (mean absolute, where a hand is seen)."""
        heat, mask, dense = self.head(finest).float().split(self.sizes, 1)
        masks, places = visible_hands(batch, hands, finest.shape[-1])
        off = (dense[::DRAWN].unflatten(1, (len(HANDS), 3)) - places).abs() * masks[:, :, None]
        return {
            "heat": heat_loss(heat, batch.joints_2d),
            "mask": functional.smooth_l1_loss(mask[::DRAWN], masks),
            "dense": off.sum() / (3 * masks.sum()).clamp(min=1),
        }
