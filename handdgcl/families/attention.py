"""An attention graph, in the manner of Li et al. (IntagHand, CVPR 2022), reduced to the baseline's size.

The baseline's graph decoder, whose coarsest nodes attend to the image's maps at strides 16 and 8 and to the
other hand. Reduced: attention at one level of the mesh instead of three, no dense loss on levels between, the
baseline's losses. Parts of a row: "heads" (heat maps, masks and dense maps are learned beside, as theirs),
"image" (nodes attend to the maps), "cross" (and to the other hand).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.config import Config
from handdgcl.data.batch import HandBatch
from handdgcl.families import Learned
from handdgcl.families.maps import MapHeads, Pyramid
from handdgcl.hands import Hands
from handdgcl.hands.topology import HANDS
from handdgcl.model.losses import Target
from handdgcl.model.network import HandDGCL, Output

WIDTH = 48  # of the pyramid's maps
HEADS = 2
MOST_TOKENS = 8  # on a side: a larger map is averaged to this, as theirs
BEFORE_LAST = (2, 3)  # the stages attended to, counted from behind: strides 16 and 8 of a ResNet's 4 to 32


class Attend(nn.Module):
    """x + attention, then x + MLP, each on normalised features (He's pre-norm transformer block)."""

    def __init__(self, features: int):
        super().__init__()
        self.norm, self.norm_mlp = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attention = nn.MultiheadAttention(features, HEADS, batch_first=True)
        hidden = 2 * features
        self.mlp = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, features))

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        """x `[B, N, F]` attends to others `[B, T, F]` → `[B, N, F]`."""
        x = x + self.attention(self.norm(x), others, others, average_attn_weights=False)[0]
        return x + self.mlp(self.norm_mlp(x))


class ImageAttention(nn.Module):
    """Nodes attend to themselves and to the places of maps, all at once.

    Args:
        features: F of the nodes.
        width: of the maps.
        maps: how many.
    """

    def __init__(self, features: int, width: int, maps: int):
        super().__init__()
        self.tokens = nn.ModuleList(nn.Conv2d(width, features, 1) for _ in range(maps))
        start = 0.02 * torch.randn(maps, features, MOST_TOKENS, MOST_TOKENS)
        self.place = nn.Parameter(start)
        self.norm, self.attend = nn.LayerNorm(features), Attend(features)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """x `[B, H, N, F]`, each map `[B, width, S_k, S_k]` → as x."""
        tokens = []
        for image_map, layer, place in zip(maps, self.tokens, self.place, strict=True):
            fit = partial(functional.adaptive_avg_pool2d, output_size=min(MOST_TOKENS, image_map.shape[-1]))
            tokens.append((layer(fit(image_map)) + fit(place)).flatten(2).mT)  # [B,T_k,F]
        seen = torch.cat(tokens, 1)[:, None].expand(-1, len(HANDS), -1, -1).to(x.dtype)
        others = self.norm(torch.cat([seen, x], 2)).flatten(0, 1)
        return self.attend(x.flatten(0, 1), others).view_as(x)


class CrossHand(nn.Module):
    """Nodes attend to the other hand's, with the same weights for both."""

    def __init__(self, features: int):
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(features), Attend(features)

    def forward(self, x: Tensor) -> Tensor:
        """x `[B, H, N, F]` → as x."""
        return self.attend(x.flatten(0, 1), self.norm(x.flip(1)).flatten(0, 1)).view_as(x)


class Network(HandDGCL):
    """The baseline, its coarsest nodes seeing the image's maps and each other."""

    # Theirs are 100, 500, 30 beside vertices' 100, in other units: in those shares (vertices weigh 10 here)
    # the encoder served the maps alone, and the hands stayed at the mean hand for a short run.
    WEIGHTS = {"heat": 0.3, "mask": 1.0, "dense": 0.1}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__(config.encoder, config.graph, hands, pretrained=pretrained)
        features, stages = config.graph.features, len(config.encoder.widths)
        self.levels = [stages - k for k in BEFORE_LAST if stages >= k] if "image" in parts else []
        self.pyramid = Pyramid(config.encoder.widths, WIDTH, {0, *self.levels})
        self.heads = MapHeads(WIDTH)
        self.image = ImageAttention(features, WIDTH, len(self.levels)) if self.levels else None
        self.cross = CrossHand(features) if self.levels and "cross" in parts else None

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255."""
        return self._read(image)[1]

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms heat, mask, dense."""
        feature, output, maps = self._read(batch.image)
        with torch.autocast(feature.device.type, enabled=False):
            terms = self.heads.terms(maps[0].float(), batch, hands)
        return Learned(feature, output, terms)

    def _read(self, image: Tensor) -> tuple[Tensor, Output, list[Tensor]]:
        """The pooled feature, the output, and the pyramid's maps, fine to coarse."""
        maps = self.encoder.maps(image)
        feature, maps = maps[-1].mean((2, 3)), self.pyramid(maps)
        x = self.graph_side.graph(feature)
        if self.image is not None:
            x = self.image(x, [maps[level] for level in self.levels])
        x = x if self.cross is None else self.cross(x)
        return feature, self.decode(x, self.graph_side.gcn(x), image.shape[-1]), maps
