"""Trained models: what a checkpoint holds and how it is read."""

import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from handdgcl.config import Config, from_dict
from handdgcl.errors import InputError
from handdgcl.hands import Hands, load_hands
from handdgcl.model.network import HandDGCL

NETWORK = "network."


class Trained(NamedTuple):
    """A trained row.

    Attributes:
        network: ready for inference (`eval` mode).
        hands: the hand models it was trained with.
        config: the parameters it was trained with.
        info: row, seed, epoch, val_mpjpe_mm, and `weights`, which also has those of DGCLNet
            (`contrastive.…`).
    """

    network: HandDGCL
    hands: Hands
    config: Config
    info: dict


# What reading another file, or a folder, raises.
DAMAGE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError),
    *(AttributeError, IndexError, KeyError, TypeError, ValueError),
)


def load_model(checkpoint: str | Path, *, hands: str | None = None) -> Trained:
    """Read a checkpoint that training wrote.

    Args:
        checkpoint: the file.
        hands: folder of the hand models, if they have moved since; default: where training had them.

    Raises:
        InputError: no such file, not a checkpoint of this project, or weights of another architecture.
    """
    path = Path(checkpoint)
    try:
        info = torch.load(path, map_location="cpu", weights_only=True)
        config = from_dict(info["config"])
        weights = {
            key.removeprefix(NETWORK): value
            for key, value in info["weights"].items()
            if key.startswith(NETWORK)
        }
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; train one, or fetch it with `dvc pull`") from None
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: not a checkpoint of this project, or of another version ({reason})"
        ) from error
    models = load_hands(hands or config.data.hands)
    # The weights are all here: naming a pretrained encoder must not fetch it again.
    network = HandDGCL(config.encoder, config.graph, models, pretrained=False)
    load_weights(network, weights, path)
    return Trained(network.eval(), models, config, info)


def load_weights(module: nn.Module, weights: dict, path: Path) -> None:
    """Load weights, or say which do not fit.

    Raises:
        InputError: names, shapes or counts differ.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            f"{path}: its weights do not fit the configuration it names ({first}); train it again"
        ) from error
