"""Removal of the other hand before a single-hand estimator, in the manner of Meng et al. (ECCV 2022).

Both hands are masked, whole and as far as they show; the image is painted anew for either hand, without the
other and with what that one hides; an estimator of one right hand (left ones are mirrored) sees each such
image alone, and reads a joint's place in space where its heat map is hottest. Joints alone. Theirs are three
large networks trained one after the other, on a crop of each hand, with losses of a pretrained network; here
they are small, see the pair's crop, and learn side by side, each from what the one before makes of the same
image, masks and judge from one in four. Masks are of hands, not of arms. The parts of a row: "remove"; or
"oracle", whose estimator sees the true image of each hand alone; with neither it sees the pair.
"""

from itertools import pairwise

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
from handdgcl.families.parameters import still_at_first
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.raster import silhouettes
from handdgcl.hands.topology import HANDS, JOINT_COUNT, LEFT, RIGHT, ROOT_JOINT
from handdgcl.model.encoder import MOST, ImageEncoder
from handdgcl.model.losses import Target
from handdgcl.model.network import TYPICAL_CAMERA, Output

WIDTH = 48  # of the pyramid
PAINTER = (16, 32, 64, 96)  # widths of the U-Nets, from half the image's side on
HOLE = 6.0  # weight of what is removed or was hidden, theirs
CHANGED = 0.1  # of full brightness, between the pair's image and that of one hand


class Network(nn.Module):
    """Image → each hand alone → its joints."""

    # Theirs has the judge at a tenth, beside losses of a pretrained network that ours lacks.
    WEIGHTS = {"heat": 1.0, "masks": 1.0, "paint": 1.0, "judge": 1.0, "judged": 0.01}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        self.pyramid = Pyramid(config.encoder.widths, WIDTH, {0})
        self.maps = map_head(WIDTH, 4 * JOINT_COUNT)  # heat, and a place in space
        self.hand = still_at_first(nn.Linear(self.encoder.features, 2))  # camera's s, |J9 - J0|
        self.relation = still_at_first(nn.Linear(len(HANDS) * self.encoder.features, 3))
        self.oracle, self.removes = "oracle" in parts, "remove" in parts
        if self.removes:
            self.masks = UNet(3, 2 * len(HANDS))
            self.painter = UNet(8, 3)
            self.judge = patch_judge()
        self.register_buffer("rest", resting(hands)[RIGHT], persistent=False)
        self.register_buffer("side", torch.tensor([[[-1.0, 1, 1]], [[1, 1, 1]]]), persistent=False)

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255; joints alone.

        Further channels, of a `TwinStore`, are the oracle's, and nobody else's.
        """
        return self._estimate(MOST * self.remove(image)[0] if self.removes else self._given(image))[1]

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms heat, and of removal masks (cross-entropy), paint, judge and judged."""
        if not self.removes:
            feature, output, heat = self._estimate(self._given(batch.image))
            return Learned(feature, output, {"heat": heat_loss(heat, batch.joints_2d)})
        made, masks, hole = self.remove(batch.image)
        feature, output, heat = self._estimate(MOST * made.detach())
        true = batch.image[:, 3:].unflatten(1, (len(HANDS), 3)) / MOST
        found = masks[::DRAWN].float().unflatten(1, (2, len(HANDS)))
        gone = (batch.image[:, None, :3] / MOST - true).abs().amax(2) > CHANGED  # with the other's arm
        off = (1 + (HOLE - 1) * torch.maximum(hole, gone.float())[:, :, None]) * (made - true).abs()
        terms = {
            "heat": heat_loss(heat, batch.joints_2d),
            "masks": functional.binary_cross_entropy_with_logits(
                found, true_masks(batch, hands, found.shape[-1])
            ),
            "paint": off.mean(),
        }
        judged = against(self.judge, *(part[::DRAWN].flatten(0, 1) for part in (made, true)))
        return Learned(feature, output, terms | judged)

    def remove(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each hand alone.

        Args:
            image: `[B, 3, S, S]`, 0 to 255.

        Returns:
            Images `[B, H, 3, S, S]`, 0 to 1; masks `[B, 2 H, S, S]` (logits: whole hands, then visible ones);
            what is painted for each hand `[B, H, S, S]`, 0 to 1.
        """
        x = image[:, :3].float() / MOST
        masks = self.masks(x)
        whole, seen = masks.detach().float().sigmoid().unflatten(1, (2, len(HANDS))).unbind(1)
        hidden, other = whole * (1 - seen), seen.flip(1) * (1 - whole)
        ground = (1 - seen.sum(1, keepdim=True)).clamp(min=0).expand_as(seen)
        x = x[:, None]
        without = lambda region: x * (1 - region[:, :, None])
        given = torch.cat([without(hidden), seen[:, :, None], without(other), ground[:, :, None]], 2)
        change = self.painter(mirrored(given).flatten(0, 1)).float().unflatten(0, (-1, len(HANDS)))
        hole = hidden + other
        made = x * (1 - hole[:, :, None]) + mirrored(change)  # outside, arms can change too
        made = made + (made.clamp(0, 1) - made).detach()  # a gradient beyond the ends too
        return made, masks, hole

    def _given(self, image: Tensor) -> Tensor:
        """What an estimator without removal sees of each hand: `[B, H, 3, S, S]`."""
        if self.oracle:
            if image.shape[1] == 3:
                raise InputError("an oracle sees true images of each hand alone, which a picture has not")
            return image[:, 3:].unflatten(1, (len(HANDS), 3))
        return image[:, None, :3].expand(-1, len(HANDS), -1, -1, -1)

    def _estimate(self, alone: Tensor) -> tuple[Tensor, Output, Tensor]:
        """Images of each hand `[B, H, 3, S, S]` → features `[B H, C]`, output, heat `[B, H J, S_4, S_4]`."""
        size, B = alone.shape[-1], len(alone)
        maps = self.encoder.maps(mirrored(alone).flatten(0, 1))
        feature = maps[-1].mean((2, 3))
        heat, place = self.maps(self.pyramid(maps)[0]).split((JOINT_COUNT, 3 * JOINT_COUNT), 1)
        with torch.autocast(alone.device.type, enabled=False):
            heat, place = (mirrored(part.float().unflatten(0, (B, -1))) for part in (heat, place))
            heat = heat.flatten(1, 2)
            share = under_heat(heat).unflatten(1, (len(HANDS), JOINT_COUNT, 1))
            place = (share * place.unflatten(2, (JOINT_COUNT, 3)).flatten(4)).sum(-1)
            scale, bone = self.hand(feature.float()).unflatten(0, (B, -1)).unbind(2)
            output = joints_alone(
                joints=(self.rest + place) * self.side,
                root=STRIDE * peaks(heat)[0][:, :, ROOT_JOINT],
                scale=size * (TYPICAL_CAMERA[0] + scale).clamp(min=0.02),
                bone=bone,
                relative_root=self.relation(feature.float().view(B, -1)),
            )
        return feature, output, heat


class UNet(nn.Module):
    """`[B, inputs, S, S]` → `[B, outputs, S, S]`, nearly 0 at first (U-Net, Ronneberger et al. 2015).

    Its last layer, at half of S, makes four pixels of each (Shi et al., CVPR 2016), for much less time.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        widths = (inputs, *PAINTER)
        self.down = nn.ModuleList(_layer(a, b, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_layer(a + b, a, 1) for a, b in list(pairwise(widths))[:0:-1])
        self.last = still_at_first(nn.Conv2d(PAINTER[0], 4 * outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        y, seen = x, []
        for layer in self.down:
            y = layer(y)
            seen.append(y)
        y = seen.pop()
        for layer in self.up:
            skip = seen.pop()
            y = layer(torch.cat([functional.interpolate(y, size=skip.shape[-2:]), skip], 1))
        return functional.pixel_shuffle(self.last(y), 2)[..., : x.shape[-2], : x.shape[-1]]


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(4, outputs), nn.GELU())


def patch_judge() -> nn.Sequential:
    """Patches of an image → 1 for a true hand alone, 0 for a painted one (Isola et al., CVPR 2017)."""
    first, second = nn.Conv2d(3, 32, 4, 2, 1), nn.Conv2d(32, 64, 4, 2, 1)
    return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 3, padding=1))


def mirrored(x: Tensor) -> Tensor:
    """`[B, H, ..., S]` with the left hands' images mirrored, so that they show right hands."""
    return torch.stack([x[:, LEFT].flip(-1), x[:, RIGHT]], 1)


@torch.no_grad()
def true_masks(batch: HandBatch, hands: Hands, size: int) -> Tensor:
    """Whole hands and what shows of them, of every `DRAWN`-th image: `[B', 2, H, S, S]`."""
    points = batch.vertices_2d[::DRAWN]
    whole = [silhouettes(points[:, h], hands.faces[h], height=size, width=size) for h in range(len(HANDS))]
    face, F = nearest_surface(batch, hands, size, stride=1).face, hands.faces.shape[1]
    seen = [(face >= 0) & (face // F == h) for h in range(len(HANDS))]
    return torch.stack([torch.stack(whole, 1), torch.stack(seen, 1)], 1).float()
