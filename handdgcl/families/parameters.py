"""A network's numbers as parameters of the hand model, and the two hands that they make."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from handdgcl.hands import Hands
from handdgcl.hands.camera import bone_scale, root_aligned
from handdgcl.hands.topology import HANDS
from handdgcl.model.network import TYPICAL_CAMERA, Output

ROTATION, POSE, SHAPE, CAMERA = 6, 45, 10, 3
RELATIVE = 3  # of both hands: the relative root
MOST_STEPS = 200  # of L-BFGS
# The models' rest, whose fingers point along x (left) and -x (right), turned to point up in the image.
UPRIGHT = torch.tensor([[[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]])


class Parameters(nn.Module):
    """Numbers → two hands; all 0 is the mean hand, upright.

    A hand's numbers are its rotation, finger pose as coefficients of the model's components, shape, and
    weak-perspective camera in shares of the crop. The rotation is two columns of a matrix (Zhou et al., CVPR
    2019): the published methods say it by its axis, which jumps where hands are seen from all sides.

    Args:
        hands: the mesh.
        components: P, how many the pose has.

    Attributes:
        sizes: of a hand's numbers, count: their sum.
    """

    def __init__(self, hands: Hands, components: int = POSE):
        super().__init__()
        self.sizes = (ROTATION, components, SHAPE, CAMERA)
        self.count = sum(self.sizes)
        self.register_buffer("typical_camera", torch.tensor(TYPICAL_CAMERA), persistent=False)
        self.register_buffer("upright", UPRIGHT.clone(), persistent=False)
        # In a list: their weights are not the network's, and move with the module that owns them.
        self.hands = [hands]

    def forward(self, numbers: Tensor, relative_root: Tensor, size: int) -> Output:
        """Two hands.

        Args:
            numbers: `[B, H, count]`, float32: bfloat16 would round rotations to 0.4 %.
            relative_root: `[B, 3]`, as `Output`'s.
            size: S, the crop's side.
        """
        rotation, pose, shape, camera = numbers.split(self.sizes, 2)
        vertices = posed(self.hands[0], rotations(rotation, self.upright), pose, shape)
        joints = self.hands[0].joints(vertices)
        return Output(
            vertices=root_aligned(vertices, joints),
            scale=bone_scale(joints)[..., 0, 0],
            camera=size * (self.typical_camera + camera),
            relative_root=relative_root,
        )

    def priors(self, numbers: Tensor) -> dict[str, Tensor]:
        """Mean squares of pose and shape."""
        _, pose, shape, _ = numbers.split(self.sizes, -1)
        return {"pose": pose.square().mean(), "shape": shape.square().mean()}


def rotations(numbers: Tensor, upright: Tensor) -> Tensor:
    """Rotation matrices `[B, H, 3, 3]` of six numbers `[B, H, 6]`, beside those of `UPRIGHT`."""
    start = upright[:, :, :2].mT.flatten(1)
    first, second = (start + numbers).unflatten(-1, (2, 3)).unbind(-2)
    x = functional.normalize(first, dim=-1)
    y = functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def posed(hands: Hands, rotation: Tensor, pose: Tensor, shape: Tensor) -> Tensor:
    """Vertices `[B, H, V, 3]` m, turned about the model's origin.

    Args:
        hands: the mesh.
        rotation: `[B, H, 3, 3]`, of `rotations`.
        pose: `[B, H, P]`, coefficients of the first components.
        shape: `[B, H, 10]`.
    """
    fingers = torch.einsum("bhp,hpa->bha", pose, hands.components[:, : pose.shape[-1]])
    still = fingers.new_zeros(*fingers.shape[:2], 3)
    return hands(torch.cat([still, fingers], 2), shape, still) @ rotation.mT


def floor(vertices: Tensor, hands: Hands, components: int) -> Tensor:
    """What so many components cannot say: MPVPE of the best fit to true hands.

    Args:
        vertices: `[B, H, V, 3]` metres.
        hands: the mesh.
        components: P.

    Returns:
        `[B, H]` in mm, root-aligned, in the true hand's size.
    """
    true_joints = hands.joints(vertices)
    target = root_aligned(vertices, true_joints)
    sizes = (ROTATION, components, SHAPE)
    free = [torch.zeros(*vertices.shape[:2], n, requires_grad=True) for n in sizes]
    turn, *rest = free
    optimiser = torch.optim.LBFGS(free, max_iter=MOST_STEPS, history_size=30, line_search_fn="strong_wolfe")

    def off() -> Tensor:
        made = posed(hands, rotations(turn, UPRIGHT), *rest)
        return root_aligned(made, hands.joints(made)) - target

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = off().square().sum(-1).mean()
        value.backward()
        return value

    optimiser.step(loss)
    return 1000 * (off().detach().norm(dim=-1) * bone_scale(true_joints)[..., 0]).mean(-1)


def still_at_first(layer: nn.Module) -> nn.Module:
    """The layer, whose output is nearly 0 at first."""
    nn.init.normal_(layer.weight, std=1e-3)
    nn.init.zeros_(layer.bias)
    return layer


def as_numbers(joints: Tensor, relative_root: Tensor) -> Tensor:
    """`[B, 129]` of a pair's joints `[B, H, J, 3]` and relative root `[B, 3]`."""
    return torch.cat([joints.flatten(1), relative_root], 1)


def relation_and_hands(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's numbers `[B, H P + 3]` → relative root `[B, 3]` and the hands' `[B, H, P]`."""
    hands, relative_root = numbers[:, :-RELATIVE], numbers[:, -RELATIVE:]
    return relative_root, hands.unflatten(1, (len(HANDS), -1))
