"""Heat-map attention and a cascade of parameters, in the manner of Zhang et al. (ICCV 2021).

Heat maps of all joints say where each hand is; the feature under a hand's own joints gives its first
parameters. Each of three stages then looks, on finer and finer maps, at where the joints of the stage before
lie in the image, moved onto the detected ones by the scale and shift that fit best, and gives all parameters
anew, knowing both hands' last ones. Reduced: 2D heat maps, learned along on the shared encoder, in place of a
frozen second network with volumes of heat; one map a stage without layers of its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.config import Config
from handdgcl.data.batch import HandBatch
from handdgcl.families import Learned
from handdgcl.families.maps import STRIDE, Pyramid, heat_loss, map_head, peaks
from handdgcl.families.parameters import RELATIVE, Parameters, still_at_first
from handdgcl.hands import Hands
from handdgcl.hands.camera import weak_perspective
from handdgcl.hands.topology import HANDS, JOINT_COUNT, LEFT, RIGHT
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.losses import Target
from handdgcl.model.network import HandLinear, Output

WIDTH = 48  # of the pyramid's maps
HIDDEN = 128
REACH = 3.0  # of a joint's attention exp(-d² / 3), d in px of the stage's map, as theirs
STAGES = 3


class Guess(NamedTuple):
    """A stage's two hands."""

    numbers: Tensor  # [B,H,64], of `Parameters`
    output: Output
    joints: Tensor  # [B,H,J,3], as the output's vertices


class Network(nn.Module):
    """Image → heat maps and first parameters → three stages → two hands."""

    # Theirs on all stages: joints 10, shape 0.1, shape equality 0.01, prior 0.1, beside the same joints' 10
    # here.
    WEIGHTS = {"heat": 1.0, "stages": 10.0, "shape": 0.01, "equal": 0.001, "pose": 0.01}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        count = len(config.encoder.widths)
        stages = min(STAGES, count)  # a map each, coarse to fine, and the finest for heat
        self.pyramid = Pyramid(config.encoder.widths, WIDTH, {0, *range(count - stages, count)})
        self.heat = map_head(WIDTH, len(HANDS) * JOINT_COUNT)
        self.parameters_of = Parameters(hands)
        pooled, each = self.encoder.features, self.parameters_of.count
        both = len(HANDS) * each + RELATIVE
        self.start = head(WIDTH + pooled, each)
        self.stages = nn.ModuleList(head(WIDTH + pooled + both, each) for _ in range(stages))
        self.relation = nn.Linear(pooled, RELATIVE)

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255."""
        return self._read(image)[-1][-1].output

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`; terms heat, stages (joints before the last), shape, equal (shapes), pose."""
        feature, heat, guesses = self._read(batch.image)
        early = [(guess.joints - target.joints).abs().mean() for guess in guesses[:-1]]
        numbers = torch.stack([guess.numbers for guess in guesses])
        shape = numbers.split(self.parameters_of.sizes, -1)[2]
        terms = {
            "heat": heat_loss(heat, batch.joints_2d),
            "stages": sum(early) / len(early),
            "equal": (shape[:, :, LEFT] - shape[:, :, RIGHT]).square().mean(),
        }
        return Learned(feature, guesses[-1].output, terms | self.parameters_of.priors(numbers))

    def _read(self, image: Tensor) -> tuple[Tensor, Tensor, list[Guess]]:
        """The pooled feature, heat maps `[B, H J, S_4, S_4]`, and the guesses of start and stages."""
        maps = self.encoder.maps(image)
        feature, maps = maps[-1].mean((2, 3)), self.pyramid(maps)
        heat = self.heat(maps[0])
        with torch.autocast(image.device.type, enabled=False):
            maps, heat, pooled = [m.float() for m in maps], heat.float(), feature.float()
            relation, size = self.relation(pooled), image.shape[-1]
            # The maps are learned from their own term alone.
            hot = heat.detach().unflatten(1, (len(HANDS), -1)).amax(2).clamp(0, 1)  # [B,H,S_4,S_4]
            guesses = [self._guess(self.start, [under(maps[-1], hot), pooled], relation, size)]
            place, sure = peaks(heat.detach())
            for head_, image_map in zip(self.stages, maps[::-1], strict=False):
                last = guesses[-1]
                points = weak_perspective(last.output.camera, last.joints)
                points = register(points, STRIDE * place, sure)
                looked = under(image_map, nearby(points * image_map.shape[-1] / size, image_map.shape[-1]))
                known = torch.cat([last.numbers.flatten(1), relation], 1)
                guesses.append(self._guess(head_, [looked, pooled, known], relation, size))
        return feature, heat, guesses

    def _guess(self, layers: nn.Module, parts: list[Tensor], relation: Tensor, size: int) -> Guess:
        """Hands from features; parts `[B, H, F]` of each hand or `[B, F]` of both."""
        each = [p if p.dim() == 3 else p[:, None].expand(-1, len(HANDS), -1) for p in parts]
        numbers = layers(torch.cat(each, 2).transpose(0, 1)).transpose(0, 1)  # [B,H,64]
        output = self.parameters_of(numbers, relation, size)
        return Guess(numbers, output, self.parameters_of.hands[0].joints(output.vertices))


def head(features: int, numbers: int) -> nn.Sequential:
    """A hand's own two layers to its numbers, `[H, B, F]` → `[H, B, P]`; at first near the mean hand."""
    return nn.Sequential(HandLinear(features, HIDDEN), nn.ReLU(), still_at_first(HandLinear(HIDDEN, numbers)))


def under(image_map: Tensor, attention: Tensor) -> Tensor:
    """Means of a map `[B, F, S, S]` weighted by attention `[B, H, S', S']` of any size; `[B, H, F]`."""
    weights = functional.adaptive_avg_pool2d(attention, image_map.shape[-1])
    total = weights.sum((2, 3)).clamp(min=1e-6)
    return torch.einsum("bfyx,bhyx->bhf", image_map, weights) / total[..., None]


def nearby(points: Tensor, size: int) -> Tensor:
    """Union of exp(-d² / 3) about points `[B, H, J, 2]`, px of the map; `[B, H, S, S]`."""
    centre = torch.arange(size, device=points.device) + 0.5
    column, row = ((points[..., k, None] - centre) ** 2 for k in range(2))
    return torch.exp(-(column[..., None, :] + row[..., :, None]) / REACH).amax(2)


def register(points: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Points `[B, H, J, 2]` scaled and shifted onto a target by least squares with weights `[B, H, J]`."""
    share = (weight + 1e-6) / (weight + 1e-6).sum(-1, keepdim=True)
    mean = lambda values: (share[..., None] * values).sum(2, keepdim=True)
    off, wanted = points - mean(points), target - mean(target)
    scale = mean((off * wanted).sum(-1, keepdim=True)) / mean(off.square().sum(-1, keepdim=True)).clamp(
        min=1e-6
    )
    return scale * off + mean(target)
