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
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale, root_aligned, weak_perspective
from handdgcl.hands.topology import HANDS
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.losses import Target
from handdgcl.model.network import TYPICAL_CAMERA, Output

ROTATION, SHAPE, CAMERA = 3, 10, 3
RELATIVE = 3  # of both hands: the relative root


class Network(nn.Module):
    """Image → parameters → two hands."""

    # Theirs: mask 100, late 1, beside joints 100 (at 100 hands shrink), prior 10 beside 2D terms of pixels.
    WEIGHTS = {"mask": 0.3, "pose": 0.01, "shape": 0.01}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.count = int(parts[0])
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        self.sizes = (ROTATION, self.count, SHAPE, CAMERA)
        self.head = nn.Linear(self.encoder.features, len(HANDS) * sum(self.sizes) + RELATIVE)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=1e-3)  # every image starts near the mean hand
        self.register_buffer("typical_camera", torch.tensor(TYPICAL_CAMERA), persistent=False)
        # In a list: their weights are not the network's, and move with the module that owns them.
        self.hands = [hands]

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255."""
        return self._read(image)[1]

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms mask (share of vertices outside), pose and shape (mean squares)."""
        feature, output, (pose, shape) = self._read(batch.image)
        size = batch.image.shape[-1]
        masks, _ = visible_hands(batch, hands, size // STRIDE)
        points = weak_perspective(output.camera[::DRAWN], output.vertices[::DRAWN])
        outside = 1 - looked_up(masks.amax(1), points / size)
        terms = {"pose": pose.square().mean(), "shape": shape.square().mean()}
        return Learned(feature, output, terms | {"mask": outside.mean()})

    def _read(self, image: Tensor) -> tuple[Tensor, Output, tuple[Tensor, Tensor]]:
        """The pooled feature, the output, and for the priors pose `[B, H, P]` and shape `[B, H, 10]`."""
        feature, hands = self.encoder(image), self.hands[0]
        # bfloat16 would round rotations to 0.4 %.
        with torch.autocast(image.device.type, enabled=False):
            sizes = [len(HANDS) * sum(self.sizes), RELATIVE]
            both, relative_root = self.head(feature.float()).split(sizes, 1)
            rotation, pose, shape, camera = both.unflatten(1, (len(HANDS), -1)).split(self.sizes, 2)
            vertices = posed(hands, rotation, pose, shape)
            joints = hands.joints(vertices)
        nothing = feature.new_zeros(len(image), 0)
        output = Output(
            vertices=root_aligned(vertices, joints),
            scale=bone_scale(joints)[..., 0, 0],
            camera=image.shape[-1] * (self.typical_camera + camera),
            relative_root=relative_root,
            graph=nothing,
            graph_k=nothing,
        )
        return feature, output, (pose, shape)


def posed(hands: Hands, rotation: Tensor, pose: Tensor, shape: Tensor) -> Tensor:
    """Vertices `[B, H, V, 3]` m.

    Args:
        hands: the mesh.
        rotation: `[B, H, 3]`, axis times angle in half turns, so that Adam's steps reach every direction.
        pose: `[B, H, P]`, coefficients of the first components.
        shape: `[B, H, 10]`.
    """
    fingers = torch.einsum("bhp,hpa->bha", pose, hands.components[:, : pose.shape[-1]])
    return hands(torch.cat([torch.pi * rotation, fingers], 2), shape, torch.zeros_like(rotation))


def looked_up(mask: Tensor, places: Tensor) -> Tensor:
    """A map `[B, S, S]` at places `[B, H, V, 2]` in shares of the crop, bilinear, 0 outside; `[B, H, V]`."""
    grid = 2 * places.flatten(1, 2)[:, None] - 1
    return functional.grid_sample(mask[:, None], grid, align_corners=False)[:, 0, 0].view(places.shape[:3])


def floor(vertices: Tensor, hands: Hands, components: int, *, steps: int = 300) -> Tensor:
    """What so many components cannot say: MPVPE of the best fit to true hands.

    Args:
        vertices: `[B, H, V, 3]` metres.
        hands: the mesh.
        components: P.
        steps: of Adam.

    Returns:
        `[B, H]` in mm, root-aligned, in the true hand's size.
    """
    shape = (*vertices.shape[:2],)
    free = [torch.zeros(*shape, n, requires_grad=True) for n in (ROTATION, components, SHAPE)]
    target = root_aligned(vertices, hands.joints(vertices))
    optimiser = torch.optim.Adam(free, lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        made = posed(hands, *free)
        off = root_aligned(made, hands.joints(made)) - target
        off.square().sum(-1).mean().backward()
        optimiser.step()
        schedule.step()
    scale = bone_scale(hands.joints(vertices))[..., 0]
    return 1000 * (off.detach().norm(dim=-1) * scale).mean(-1)
