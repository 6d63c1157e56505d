"""Both hand models as one module: licensed MANO files or the embedded open hand, through smplx."""

import hashlib
import io
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from smplx import MANOLayer
from smplx.lbs import batch_rodrigues, lbs
from smplx.utils import Struct
from torch import Tensor, nn

from handdgcl.hands.mano_files import read_model
from handdgcl.hands.topology import HANDS, LEFT, MANO_PARENTS, MIRROR_POINT, RIGHT, joint_regressor_21

OPEN_HAND = "open"
PARENTS = np.array(MANO_PARENTS)


class Hands(nn.Module):
    """The left and the right hand model; index 0 of every hand axis is the left hand.

    Attributes:
        faces: `[H, 1538, 3]` int64, outward orientation.
        joint_regressor: `[H, J, V]`, the metric's 21 joints from vertices.
        template: `[H, V, 3]` metres, mean shape, rest pose.
        hands_mean: `[H, 45]` mean finger pose, added to every pose (`flat_hand_mean=False`).
        components: `[H, 45, 45]` of the finger poses, one a row, the first explains most.
    """

    def __init__(self, models: list[dict]):
        super().__init__()
        self.layers = nn.ModuleList(_layer(model, hand) for hand, model in enumerate(models))
        stack = lambda key: torch.as_tensor(np.stack([model[key] for model in models]))
        regressors = np.stack([joint_regressor_21(model["J_regressor"]) for model in models])
        self.register_buffer("faces", stack("f").long())
        self.register_buffer("joint_regressor", torch.as_tensor(regressors))
        self.register_buffer("template", stack("v_template").float())
        self.register_buffer("hands_mean", stack("hands_mean").float())
        self.register_buffer("components", stack("hands_components").float(), persistent=False)

    def forward(self, pose: Tensor, shape: Tensor, translation: Tensor) -> Tensor:
        """Vertices of both hands.

        Args:
            pose: `[B, H, 48]` axis-angle: global orientation, then 15 joints without the mean pose.
            shape: `[B, H, 10]`.
            translation: `[B, H, 3]` metres.

        Returns:
            `[B, H, V, 3]` metres, in the frame of `translation`.
        """
        vertices = []
        for hand, layer in enumerate(self.layers):
            fingers = pose[:, hand, 3:] + self.hands_mean[hand]
            rotations = batch_rodrigues(torch.cat([pose[:, hand, :3], fingers], 1).reshape(-1, 3))
            rotations = rotations.view(-1, len(PARENTS), 3, 3)
            model = (layer.v_template, layer.shapedirs, layer.posedirs, layer.J_regressor)
            # As the layer itself, but for parents on the CPU: it would wait for a GPU at each joint.
            points, _ = lbs(shape[:, hand], rotations, *model, PARENTS, layer.lbs_weights, pose2rot=False)
            vertices.append(points + translation[:, hand, None])
        return torch.stack(vertices, 1)  # [B,H,V,3]

    def fingerprint(self) -> str:
        """A digest of all that the models are made of: where it differs, vertices mean other places."""
        digest = hashlib.sha256()
        for name, tensor in self.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def joints(self, vertices: Tensor) -> Tensor:
        """The metric's joints `[B, H, J, 3]` from vertices `[B, H, V, 3]`, same unit and frame."""
        return torch.einsum("hjv,bhvc->bhjc", self.joint_regressor.to(vertices.dtype), vertices)


def _layer(model: dict, hand: int) -> MANOLayer:
    """One smplx layer, without the mean pose (`Hands.forward` adds it) and without smplx's prints."""
    data, right = Struct(**model), hand == RIGHT
    with redirect_stdout(io.StringIO()):
        layer = MANOLayer("", data_struct=data, is_rhand=right, use_pca=False, flat_hand_mean=True)
    return layer.requires_grad_(False)


def fix_left_shape(left: dict, right: dict) -> dict:
    """The left model with the sign error of the distributed file undone, where it is present.

    In the distributed MANO_LEFT.pkl the x part of `shapedirs` equals the right hand's although the
    hands are mirror images; it must be its negative (smplx issue 48; IntagHand, Li et al. 2022).
    """
    x_left, x_right = left["shapedirs"][:, 0], right["shapedirs"][:, 0]
    if np.abs(x_left - x_right).mean() < np.abs(x_left + x_right).mean():
        return {**left, "shapedirs": left["shapedirs"] * np.float32(MIRROR_POINT)[:, None]}
    return left


def load_hands(folder: str | Path = OPEN_HAND) -> Hands:
    """Load both hands.

    Args:
        folder: `"open"` for the embedded open hand, or a folder with MANO_LEFT.pkl and MANO_RIGHT.pkl.

    Raises:
        InputError: a file is missing, refused or not a MANO hand; the message says what to do.
    """
    if str(folder) == OPEN_HAND:
        paths = [Path(__file__).parent / "open_hand" / f"open_hand_{hand}.npz" for hand in HANDS]
    else:
        paths = [Path(folder) / f"MANO_{hand.upper()}.pkl" for hand in HANDS]
    models = [read_model(path) for path in paths]
    models[LEFT] = fix_left_shape(models[LEFT], models[RIGHT])
    return Hands(models)
