"""Trained models: what a checkpoint holds, how it is written and read."""

import pickle
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from handdgcl import tracking
from handdgcl.config import Config, from_dict, to_dict
from handdgcl.files import InputError, replacing, write_json
from handdgcl.hands import Hands, load_hands
from handdgcl.model.dgclnet import DGCLNet
from handdgcl.model.network import HandDGCL
from handdgcl.rows import Row, get_row
from handdgcl.train.module import build_dgclnet
from handdgcl.train.states import BEST, LAST, read_state

CHECKPOINT = "checkpoint.ckpt"
RUN_FACTS = "run.json"  # identity, and what differs from run to run: seconds, commit, MLflow run
NETWORK, DGCLNET = "network.", "dgclnet."  # prefixes of weights
# Parts of the training state that nothing needs once training is over.
TRANSIENT = ("hands.", "dgclnet.keys.", "dgclnet.queue.")


class Trained(NamedTuple):
    """A trained row.

    Attributes:
        network: ready for inference (`eval` mode).
        hands: the hand models it was trained with.
        config: the parameters it was trained with.
        info: row, seed, epoch, val_mpjpe_mm.
        dgclnet: the second branch, without keys and queue; None for a row without one.
    """

    network: HandDGCL
    hands: Hands
    config: Config
    info: dict
    dgclnet: DGCLNet | None


# What reading another file, or a folder, raises.
DAMAGE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError),
    *(AttributeError, IndexError, KeyError, TypeError, ValueError),
)


def load_model(checkpoint: str | Path, *, hands: str | None = None, row: Row | None = None) -> Trained:
    """Read a checkpoint that training wrote.

    Args:
        checkpoint: the file.
        hands: folder of the hand models, if they have moved since; default: where training had them.
        row: the checkpoint's, if it is not in handdgcl/rows.py.

    Raises:
        InputError: no such file, not a checkpoint of this project, or weights of another architecture.
    """
    path = Path(checkpoint)
    try:
        info = torch.load(path, map_location="cpu", weights_only=True)
        config = from_dict(info["config"])
        weights = info.pop("weights")
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
    load_weights(network, _part(weights, NETWORK), path)
    dgclnet = build_dgclnet(row or get_row(info["row"]), config, network.graph_side)
    if dgclnet is not None:
        dgclnet.keys = dgclnet.queue = None
        load_weights(dgclnet, _part(weights, DGCLNET), path)
        dgclnet.eval()
    return Trained(network.eval(), models, config, info, dgclnet)


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

    The same run again gives the same bytes of checkpoint.ckpt and curves.csv. All is read from the states:
    where training had processes of its own, this one's module has not been trained.

    Args:
        states: holds best.ckpt and last.ckpt.
        config: all parameters.
        out: takes checkpoint.ckpt, curves.csv and run.json, this one last: without it they do not count.
        identity: of the run.
        mlflow_run: its id.
    """
    best, last = (read_state(states / name) for name in (BEST, LAST))
    history = last["history"]
    (out / RUN_FACTS).unlink(missing_ok=True)
    with replacing(out / "curves.csv") as path:
        pd.DataFrame(history).drop(columns="seconds").to_csv(path, index=False, float_format="%.6g")
    content = {
        "row": last["row"],
        "seed": last["seed"],
        "config": to_dict(config),
        "weights": {k: v for k, v in best["state_dict"].items() if not k.startswith(TRANSIENT)},
        "epoch": best["epoch"] + 1,
        "val_mpjpe_mm": min(record["val_mpjpe_mm"] for record in history),
    }
    # A stream, as torch.save writes the name of a file into it.
    with replacing(out / CHECKPOINT) as path, path.open("wb") as stream:
        torch.save(content, stream)
    facts = {"seconds": sum(record["seconds"] for record in history), "commit": tracking.commit()}
    write_json(out / RUN_FACTS, facts | {"identity": identity, "mlflow_run": mlflow_run})
