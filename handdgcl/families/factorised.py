"""Parameters with factorised refinement, in the manner of Rong et al. (IHMR, 3DV 2021).

An iterative regressor gives both hands' parameters in three steps; then one small residual network a factor
mends them, one factor after the other: relative root, rotation of the left hand and of the right, fingers,
shapes, cameras. A step is kept, image by image, only if neither the distance to joints that a head of their
own says nor the collision of the two hands grows. Reduced: the residual networks learn beside the regressor,
which gets no gradient from them, in place of after it; collision is of spheres on the bones in place of a
grid of distances. The part "collision" of a row adds a loss on it to the refinement.
"""

import torch
from torch import Tensor, nn

from handdgcl.config import Config
from handdgcl.data.batch import HandBatch
from handdgcl.families import Learned
from handdgcl.families.parameters import RELATIVE, Parameters, as_numbers, relation_and_hands, still_at_first
from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale
from handdgcl.hands.topology import BONES, HANDS, JOINT_COUNT, LEFT, RIGHT
from handdgcl.model.encoder import ImageEncoder
from handdgcl.model.losses import Target, reconstruction_terms, weights
from handdgcl.model.network import Output

HIDDEN, SMALL = 256, 64
STEPS = 3
ALONG = torch.linspace(0, 1, 4)[1:]  # places of spheres on a bone, in its length


def factors(sizes: tuple[int, ...]) -> list[list[int]]:
    """Which numbers each factor may change, in the order of the refinement.

    Args:
        sizes: of a hand's rotation, fingers, shape and camera; the relative root's three follow both hands'.
    """
    count = len(HANDS) * sum(sizes)
    parts = [torch.arange(count).view(len(HANDS), -1).split(sizes, 1)[k] for k in range(4)]
    rotation, fingers, shape, camera = parts
    relation = torch.arange(count, count + RELATIVE)
    order = [relation, rotation[LEFT], rotation[RIGHT], fingers, shape, camera]
    return [place.flatten().tolist() for place in order]


class Network(nn.Module):
    """Image → parameters, step by step → refined factor by factor → two hands."""

    # Theirs: pose and joints 10, collision 1, shape equality 0.1. "refined" is the shared terms again.
    WEIGHTS = {"evidence": 10.0, "refined": 1.0, "pose": 0.01, "shape": 0.01, "collision": 0.05}  # noqa: RUF012

    def __init__(self, config: Config, parts: tuple[str, ...], hands: Hands, *, pretrained: bool = True):
        super().__init__()
        self.encoder = ImageEncoder(config.encoder, pretrained=pretrained)
        self.collide, self.shared = "collision" in parts, weights(config.loss)
        self.parameters_of = Parameters(hands)
        pooled, self.count = self.encoder.features, len(HANDS) * self.parameters_of.count + RELATIVE
        self.regressor = layers(pooled + self.count, HIDDEN, self.count)
        self.evidence = nn.Linear(pooled, len(HANDS) * JOINT_COUNT * 3 + RELATIVE)
        places = factors(self.parameters_of.sizes)
        self.refine = nn.ModuleList(layers(pooled + self.count, SMALL, len(place)) for place in places)
        for k, place in enumerate(places):
            self.register_buffer(f"factor_{k}", torch.tensor(place), persistent=False)
        self.register_buffer("radius", sphere_radii(hands), persistent=False)
        self.register_buffer("bones", along_bones(), persistent=False)

    def forward(self, image: Tensor) -> Output:
        """Both hands of each image `[B, 3, S, S]`, RGB, 0 to 255; a factor's step where it does no harm."""
        feature = self.encoder(image)
        with torch.autocast(image.device.type, enabled=False):
            feature, size = feature.float(), image.shape[-1]
            said = self.evidence(feature)
            state = self._regress(feature)
            harm = self._harm(self._hands(state, size), said)
            for k in range(len(self.refine)):
                tried = self._step(state, k, feature)
                new = self._harm(self._hands(tried, size), said)
                kept = (new <= harm).all(0)  # [B]
                state, harm = torch.where(kept[:, None], tried, state), torch.where(kept, new, harm)
            return self._hands(state, size)

    def learn(self, batch: HandBatch, target: Target, hands: Hands) -> Learned:
        """`families.Learned`, its output unrefined; terms evidence, refined, pose, shape, collision."""
        feature, size = self.encoder(batch.image), batch.image.shape[-1]
        with torch.autocast(feature.device.type, enabled=False):
            pooled = feature.float()
            state = self._regress(pooled)
            mended = state.detach()
            for k in range(len(self.refine)):
                mended = self._step(mended, k, pooled.detach())
            first, last = self._hands(state, size), self._hands(mended, size)
            true = as_numbers(target.joints, target.relative_root)
            refined = reconstruction_terms(last, last.joints_of(hands), target)
            terms = {
                "evidence": (self.evidence(pooled) - true).abs().mean(),
                "refined": sum(self.shared[name] * term for name, term in refined.items()),
            } | self.parameters_of.priors(relation_and_hands(state)[1])
            if self.collide:  # spheres of true hands that touch are in each other, too
                scale = bone_scale(batch.joints)[..., 0, 0]
                allowed = collision(self.bones @ batch.joints, self.radius, scale)
                terms["collision"] = (self._collision(last) - allowed).clamp(min=0).mean()
        return Learned(feature, first, terms)

    def _regress(self, feature: Tensor) -> Tensor:
        """Numbers `[B, 131]`, from those of the mean hand on."""
        state = feature.new_zeros(len(feature), self.count)
        for _ in range(STEPS):
            state = state + self.regressor(torch.cat([feature, state], 1))
        return state

    def _step(self, state: Tensor, factor: int, feature: Tensor) -> Tensor:
        """The state with one factor changed."""
        change = self.refine[factor](torch.cat([feature, state], 1))
        return state.index_add(1, self.get_buffer(f"factor_{factor}"), change)

    def _hands(self, state: Tensor, size: int) -> Output:
        relative_root, numbers = relation_and_hands(state)
        return self.parameters_of(numbers, relative_root, size)

    def _harm(self, output: Output, said: Tensor) -> Tensor:
        """What may not grow, `[2, B]`: distance to the evidence and collision."""
        joints = as_numbers(self.parameters_of.hands[0].joints(output.vertices), output.relative_root)
        return torch.stack([(joints - said).abs().mean(1), self._collision(output)])

    def _collision(self, output: Output) -> Tensor:
        joints = self.parameters_of.hands[0].joints(output.metric_vertices())
        return collision(self.bones @ joints, self.radius, output.scale)


def layers(features_in: int, hidden: int, features_out: int) -> nn.Sequential:
    """Two layers, whose output is nearly 0 at first."""
    last = still_at_first(nn.Linear(hidden, features_out))
    return nn.Sequential(nn.Linear(features_in, hidden), nn.ReLU(), last)


def along_bones() -> Tensor:
    """Where spheres are, as means of joints: `[60, J]`; times joints `[..., J, 3]` it is their centres."""
    shares = torch.zeros(len(BONES), len(ALONG), JOINT_COUNT)
    for k, (parent, child) in enumerate(BONES):
        shares[k, :, parent], shares[k, :, child] = 1 - ALONG, ALONG
    return shares.flatten(0, 1)


def sphere_radii(hands: Hands) -> Tensor:
    """`[60]`, in |J9 - J0|: mean distance to the 25 nearest vertices of the right hand at rest."""
    template = hands.template[RIGHT]
    joints = hands.joints(hands.template[None])[0, RIGHT]
    near = torch.cdist(along_bones() @ joints, template).topk(25, largest=False).values.mean(1)
    return near / bone_scale(joints)[..., 0, 0]


def collision(centres: Tensor, radius: Tensor, scale: Tensor) -> Tensor:
    """How deep spheres of the two hands are in each other, `[B]`: the sum over all pairs, in |J9 - J0|.

    Args:
        centres: `[B, H, 60, 3]` metres, both hands in one frame.
        radius: `[60]`, of `sphere_radii`.
        scale: `[B, H]` metres.
    """
    left, right = centres.unbind(1)
    sizes = radius * scale[..., None]  # [B,H,60]
    gap = torch.cdist(left, right) - (sizes[:, LEFT, :, None] + sizes[:, RIGHT, None])
    return (-gap).clamp(min=0).sum((1, 2)) / scale.mean(1)
