"""2.5D joints with a judge of the pair and joint visibility, after the abstract of Kim et al. (ICCV 2021).

Their text beyond the abstract was not available, and their network finds hands as well; ours is given the
crop. Heat maps say where each joint is in the image, depth maps how far before its root; a joint that is
hidden is moved towards a place guessed from the whole image, by how visible the network holds it. A judge
learns to tell true pairs of poses from the network's, and the network to pass for true, both at every step.
Joints alone: there is no mesh. The part of a row is "judge".
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.config import Config
from handdgcl.data.batch import HandBatch
from handdgcl.families import Learned
from handdgcl.families.maps import (
    DRAWN,
    STRIDE,
    Pyramid,
    against,
    heat_loss,
    joints_alone,
    map_head,
    nearest_surface,
    peaks,
    resting,
    under_heat,
)
from handdgcl.families.parameters import as_numbers, still_at_first
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS, JOINT_COUNT, ROOT_JOINT
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.losses import Target
from handdgcl.model.network import TYPICAL_CAMERA, Output

WIDTH, HIDDEN = 48, 128
NEAR_M = 0.02  # a joint lies so far below the skin that shows it
JOINTS = len(HANDS) * JOINT_COUNT


class Network(nn.Module):
    """Image → heat, depth and visibility of joints → two hands' joints."""

    # Not given by the abstract; the judge's small beside the joints' 10.
    WEIGHTS = {"heat": 1.0, "visible": 1.0, "judge": 1.0, "judged": 0.1}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        self.pyramid = Pyramid(config.encoder.widths, WIDTH, {0})
        self.maps = map_head(WIDTH, 2 * JOINTS)  # heat, depth
        # Of the whole image: joints' places and visibility, hands' camera s and |J9 - J0|, relative root.
        self.sizes = (2 * JOINTS, JOINTS, 2 * len(HANDS), 3)
        self.whole = still_at_first(nn.Linear(self.encoder.features, sum(self.sizes)))
        self.judge = judge() if "judge" in parts else None
        self.register_buffer("rest", resting(hands), persistent=False)

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255; joints alone."""
        return self._read(image)[1]

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms heat, visible (cross-entropy), judge (its own loss) and judged (ours)."""
        feature, output, heat, visible = self._read(batch.image)
        seen = visible_joints(batch, hands, heat.shape[-1])
        terms = {
            "heat": heat_loss(heat, batch.joints_2d),
            "visible": functional.binary_cross_entropy_with_logits(visible[::DRAWN], seen),
        }
        if self.judge is not None:
            made = as_numbers(output.joints, output.relative_root)
            terms |= against(self.judge, made, as_numbers(target.joints, target.relative_root))
        return Learned(feature, output, terms)

    def _read(self, image: Tensor) -> tuple[Tensor, Output, Tensor, Tensor]:
        """The pooled feature, the output, heat maps `[B, H J, S_4, S_4]`, visibility `[B, H, J]` (logits)."""
        maps = self.encoder.maps(image)
        feature, size = maps[-1].mean((2, 3)), image.shape[-1]
        heat, depth = self.maps(self.pyramid(maps)[0]).split(JOINTS, 1)
        with torch.autocast(image.device.type, enabled=False):
            heat, depth = heat.float(), depth.float()
            guess, visible, hand, relative_root = self.whole(feature.float()).split(self.sizes, 1)
            visible = visible.unflatten(1, (len(HANDS), -1))
            guess = size * (0.5 + guess.unflatten(1, (len(HANDS), JOINT_COUNT, 2)))
            guess = guess + size * TYPICAL_CAMERA[0] * self.rest[..., :2]
            sure = visible.detach().sigmoid()[..., None]  # learned from its own term alone
            place = sure * STRIDE * peaks(heat)[0] + (1 - sure) * guess  # px of the crop
            z = self.rest[..., 2] + read_at(depth, heat)
            output = self._hands(place, z, hand, relative_root, size)
        return feature, output, heat, visible

    def _hands(self, place: Tensor, z: Tensor, hand: Tensor, relative_root: Tensor, size: int) -> Output:
        """3D joints from places in the image and depths: the camera's scale makes px to lengths."""
        scale, bone = hand.unflatten(1, (len(HANDS), 2)).unbind(2)
        scale = size * (TYPICAL_CAMERA[0] + scale).clamp(min=0.02)  # px for |J9 - J0|
        root = place[:, :, ROOT_JOINT]
        joints = torch.cat([(place - root[:, :, None]) / scale[..., None, None], z[..., None]], -1)
        return joints_alone(joints, root, scale, bone, relative_root)


def judge() -> nn.Sequential:
    """A pair's numbers → one: 1 for a true pair, 0 for the network's."""
    first = nn.Linear(JOINTS * 3 + 3, HIDDEN)
    return nn.Sequential(
        first, nn.LeakyReLU(0.2), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1)
    )


def read_at(depth: Tensor, heat: Tensor) -> Tensor:
    """Each joint's depth map `[B, H J, S, S]` under its heat; `[B, H, J]`."""
    return (under_heat(heat) * depth.flatten(2)).sum(-1).unflatten(1, (len(HANDS), JOINT_COUNT))


def visible_joints(batch: HandBatch, hands: Hands, size: int) -> Tensor:
    """Which joints show, of every `DRAWN`-th image: `[B', H, J]`, 1 where nothing is before the hand's skin.

    A joint shows if at its pixel the nearest surface is at most `NEAR_M` before it.
    """
    depth = nearest_surface(batch, hands, size).depth  # [B',S,S] m
    joints_2d, joints = batch.joints_2d[::DRAWN], batch.joints[::DRAWN]
    column, row = (joints_2d / STRIDE).long().clamp(0, size - 1).flatten(1, 2).unbind(-1)
    front = depth.flatten(1).gather(1, row * size + column)
    return ((front == 0) | (front > joints[..., 2].flatten(1) - NEAR_M)).float().view(joints.shape[:3])
