"""Trained models: what a checkpoint holds, how it is written and read (safetensors, which runs nothing)."""

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import msgspec
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from handdgcl import tracking
from handdgcl.config import Config, from_dict, to_dict
from handdgcl.families import build_network
from handdgcl.files import InputError, digest, regular, replacing, write_file, write_json
from handdgcl.hands import Hands, load_hands
from handdgcl.model.dgclnet import DGCLNet
from handdgcl.rows import get_row
from handdgcl.train.module import build_dgclnet
from handdgcl.train.states import BEST, LAST, read_state

CHECKPOINT = "checkpoint.safetensors"
RUN_FACTS = "run.json"  # identity, and what differs from run to run: seconds, commit, MLflow run
NETWORK, DGCLNET = "network.", "dgclnet."  # prefixes of weights
ABOUT, CHECKSUM, OF_ABOUT = "handdgcl", "sha256", "about_sha256"  # the file's metadata, and entries in it
ALONE = "network_alone"  # a checkpoint without what only training needs says so
MOST_WEIGHTS = 2**29  # of a checkpoint
# Parts of the training state that nothing needs once training is over.
TRANSIENT = ("hands.", "dgclnet.keys.", "dgclnet.queue.")


class Trained(NamedTuple):
    """A trained row.

    Attributes:
        network: the row's (`families.build_network`), ready for inference (`eval` mode).
        hands: the hand models it was trained with.
        config: the parameters it was trained with.
        info: what `read_checkpoint` says of it.
        dgclnet: the second branch, without keys and queue; None where the file has none.
    """

    network: nn.Module
    hands: Hands
    config: Config
    info: dict
    dgclnet: DGCLNet | None


def load_model(checkpoint: str | Path, *, hands: str | None = None) -> Trained:
    """Read a checkpoint that training wrote.

    Args:
        checkpoint: the file.
        hands: folder of the hand models, if they have moved since; default: where training had them.

    Raises:
        InputError: no such file, not a checkpoint of this project, other hands than it was trained with, or
            weights of another architecture.
    """
    path = Path(checkpoint)
    info, weights = read_checkpoint(path)
    config = info["config"]
    models = load_hands(hands or config.data.hands)
    if models.fingerprint() != info["hands"]:
        raise InputError(
            f"{path}: was trained with other hand models than those of {hands or config.data.hands!r}: their "
            "meshes would be shredded; name the folder it was trained with (--hands), or train again"
        )
    # The weights are all here: naming a pretrained encoder must not fetch it again.
    row = get_row(info["row"])
    network = build_network(row, config, models, pretrained=False)
    load_weights(network, _part(weights, NETWORK), path)
    network.eval()
    if info.get(ALONE) or not row.terms:
        return Trained(network, models, config, info, None)
    dgclnet = build_dgclnet(row, config, network.graph_side)
    dgclnet.keys = dgclnet.queue = None
    load_weights(dgclnet.eval(), _part(weights, DGCLNET), path)
    return Trained(network, models, config, info, dgclnet)


def read_checkpoint(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """What a checkpoint says of itself and its weights by name, bit for bit as they were written.

    Returns:
        row, seed, epoch, val_mpjpe_mm, hands (`Hands.fingerprint`), config (a `Config`); and the weights.

    Raises:
        InputError: no such file, not a checkpoint of this project, or damaged.
    """
    try:
        with safe_open(regular(path), "pt") as file:
            info = json.loads((file.metadata() or {})[ABOUT])
            names = list(file.keys())
            if sum(math.prod(file.get_slice(name).get_shape()) for name in names) > MOST_WEIGHTS:
                raise ValueError(f"more than MOST_WEIGHTS = {MOST_WEIGHTS} weights")
            weights = {name: file.get_tensor(name) for name in names}
        if info.pop(OF_ABOUT) != digest(info) or info.pop(CHECKSUM) != _checksum(weights):
            raise ValueError("not what was written: a damaged copy")
        info["config"] = from_dict(info["config"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; train one with `dvc repro`") from None
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, msgspec.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: not a checkpoint of this project, or of another version ({reason})"
        ) from error
    return info, weights


def write_checkpoint(path: Path, info: dict, weights: dict[str, Tensor]) -> None:
    """The inverse of `read_checkpoint`; the same content gives the same bytes."""
    weights = {key: value.detach().cpu().contiguous() for key, value in sorted(weights.items())}
    about = info | {"config": to_dict(info["config"]), CHECKSUM: _checksum(weights)}
    about[OF_ABOUT] = digest(about)
    with replacing(path) as temporary:  # one entry, as their order in the file is not fixed
        save_file(weights, temporary, {ABOUT: json.dumps(about, sort_keys=True, allow_nan=False)})


def _checksum(weights: dict[str, Tensor]) -> str:
    """Of names, types, shapes and values."""
    sha = hashlib.sha256()
    for key, value in sorted(weights.items()):
        sha.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        sha.update(value.contiguous().flatten().view(torch.uint8).numpy())
    return sha.hexdigest()


def _part(weights: dict, prefix: str) -> dict:
    """The weights of one part, by their names in it."""
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


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


def export(states: Path, config: Config, out: Path, *, identity: dict, mlflow_run: str) -> None:
    """Write the best epoch's weights, the curves and, apart, what differs from run to run.

    The same run again gives the same bytes of checkpoint and curves.csv. All is read from the states:
    where training had processes of its own, this one's module has not been trained.

    Args:
        states: holds best.ckpt and last.ckpt.
        config: all parameters.
        out: takes checkpoint.safetensors, curves.csv and, last, run.json: without it they do not count.
        identity: of the run.
        mlflow_run: its id.
    """
    best, last = (read_state(states / name) for name in (BEST, LAST))
    history = last["history"]
    (out / RUN_FACTS).unlink(missing_ok=True)
    curves = pd.DataFrame(history).drop(columns="seconds")
    write_file(out / "curves.csv", curves.to_csv(index=False, float_format="%.6g"))
    info = {
        "row": last["row"],
        "seed": last["seed"],
        "config": config,
        "hands": load_hands(config.data.hands).fingerprint(),
        "epoch": best["epoch"] + 1,
        "val_mpjpe_mm": min(record["val_mpjpe_mm"] for record in history),
    }
    weights = {k: v for k, v in best["state_dict"].items() if not k.startswith(TRANSIENT)}
    write_checkpoint(out / CHECKPOINT, info, weights)
    facts = {"seconds": sum(record["seconds"] for record in history), "commit": tracking.commit()}
    write_json(out / RUN_FACTS, facts | {"identity": identity, "mlflow_run": mlflow_run})
