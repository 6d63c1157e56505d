"""Regression of hand model parameters, in the manner of Boukhayma et al. (CVPR 2019), for both hands at once.

One linear layer from the pooled feature to each hand's global rotation, finger pose as coefficients of the
model's components, shape and weak-perspective camera; the hand model makes the vertices. Reduced: the encoder
sees both hands, not one hand's tight crop; no training on parameters alone first, because all our images have
true vertices. Their mask term counts a vertex outside its hand's mask; ours outside both visible masks, so
that a vertex behind the other hand does not pay. The part of a row is how many components: "6" as theirs, or
"45", all.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.config import Config
from handdgcl.data.batch import HandBatch
from handdgcl.families import Learned
from handdgcl.families.maps import DRAWN, STRIDE, visible_hands
from handdgcl.families.parameters import RELATIVE, Parameters, relation_and_hands, still_at_first
from handdgcl.hands import Hands
from handdgcl.hands.camera import weak_perspective
from handdgcl.hands.topology import HANDS
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.losses import Target
from handdgcl.model.network import Output


class Network(nn.Module):
    """Image → parameters → two hands."""

    # Theirs: mask 100, late 1, beside joints 100 (at 100 hands shrink), prior 10 beside 2D terms of pixels.
    WEIGHTS = {"mask": 0.3, "pose": 0.01, "shape": 0.01}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        self.parameters_of = Parameters(hands, int(parts[0]))
        numbers = len(HANDS) * self.parameters_of.count + RELATIVE
        self.head = still_at_first(nn.Linear(self.encoder.features, numbers))

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255."""
        return self._read(image)[1]

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms mask (share of vertices outside), pose and shape (mean squares)."""
        feature, output, numbers = self._read(batch.image)
        size = batch.image.shape[-1]
        masks, _ = visible_hands(batch, hands, size // STRIDE)
        covered = functional.max_pool2d(masks.amax(1, keepdim=True), 3, 1, 1)[:, 0]  # outlines fall on pixels
        # Without the camera, which would make hands a point inside the mask.
        points = weak_perspective(output.camera[::DRAWN].detach(), output.vertices[::DRAWN])
        outside = 1 - looked_up(covered, points / size)
        return Learned(feature, output, self.parameters_of.priors(numbers) | {"mask": outside.mean()})

    def _read(self, image: Tensor) -> tuple[Tensor, Output, Tensor]:
        """The pooled feature, the output, and the hands' numbers."""
        feature = self.encoder(image)
        with torch.autocast(image.device.type, enabled=False):
            relative_root, numbers = relation_and_hands(self.head(feature.float()))
            output = self.parameters_of(numbers, relative_root, image.shape[-1])
        return feature, output, numbers


def looked_up(mask: Tensor, places: Tensor) -> Tensor:
    """A map `[B, S, S]` at places `[B, H, V, 2]` in shares of the crop, bilinear, 0 outside; `[B, H, V]`."""
    grid = 2 * places.flatten(1, 2)[:, None] - 1
    return functional.grid_sample(mask[:, None], grid, align_corners=False)[:, 0, 0].view(places.shape[:3])
