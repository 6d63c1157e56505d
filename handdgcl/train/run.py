"""Train one row with one seed: resumable, and whole when it is there."""

import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from handdgcl import provenance
from handdgcl.atomic import replacing, write_json
from handdgcl.config import Config, to_dict
from handdgcl.data.loader import eval_batches, loader_workers, open_store, train_batches
from handdgcl.errors import InputError
from handdgcl.hands import load_hands
from handdgcl.rows import get_row
from handdgcl.tracking import run_logger
from handdgcl.train.module import TrainingModule
from handdgcl.train.progress import Progress

CHECKPOINT = "checkpoint.ckpt"
RUN_FACTS = "run.json"  # what differs from run to run: seconds, commit, MLflow run
STATES = "states"  # folder of the states to resume from
# Parameters that leave a trained row as it is.
IRRELEVANT = ("profile", "reports", "seeds")
# Parts of the training state that nothing needs once training is over.
TRANSIENT = ("hands.", "contrastive.keys.", "contrastive.queue.")


class StoreData(LightningDataModule):
    """Training and validation batches of one store; the order follows the seed and the epoch.

    Attributes:
        first_epoch: the one that training starts or goes on with.
    """

    def __init__(self, folder: Path, config: Config, seed: int):
        super().__init__()
        self.config, self.seed, self.first_epoch = config, seed, 0
        self.train, self.val = (open_store(folder / split) for split in ("train", "val"))

    def train_dataloader(self) -> DataLoader:
        """This rank's share of each epoch, from the epoch that training is to go on with."""
        loader = train_batches(
            self.train,
            batch_size=self.config.train.batch_size,
            seed=self.seed,
            settings=self.config.augment,
            images=self.config.train.images,
            workers=loader_workers(self.train, self.config.data.workers),
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        # Lightning sets the epoch after loader processes have begun to draw from it.
        loader.batch_sampler.sampler.set_epoch(self.first_epoch)
        return loader

    def val_dataloader(self) -> DataLoader:
        """All validation samples, in order."""
        return eval_batches(
            self.val,
            batch_size=self.config.train.batch_size,
            workers=loader_workers(self.val, self.config.data.workers),
        )


class FirstState(Callback):
    """Keep the state before the first step, so that an interruption always leaves one."""

    def __init__(self, file: Path):
        self.file = file

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        """Write it, unless there is a later one; all processes do as the first says, they save together."""
        if not trainer.strategy.broadcast(self.file.exists()):
            trainer.save_checkpoint(self.file)


def train_row(
    name: str, seed: int, config: Config, *, store: Path, out: Path, work: Path, root: Path
) -> Path:
    """Train a row, or go on where an interrupted run of the same configuration stopped.

    Args:
        name: of `handdgcl.rows.ROWS`.
        seed: initial weights, order, augmentation and disturbance.
        config: all parameters.
        store: the folder with the stores train/ and val/.
        out: takes checkpoint.ckpt (the epoch with the best validation MPJPE), curves.csv and run.json.
        work: scratch; holds the state to resume from and is removed at the end.
        root: the project's root, for MLflow.

    Returns:
        the path of the checkpoint.

    Raises:
        InputError: no such row or data, or a file could not be written.
    """
    row, hands = get_row(name), load_hands(config.data.hands)
    data = StoreData(store, config, seed)
    identity = {"row": name, "seed": seed, "parameters": _parameters(config)}
    logger = _logger(work, config, identity, root)
    module = TrainingModule(row, config, hands, seed=seed)
    trainer = Trainer(
        max_epochs=config.train.epochs,
        devices=config.train.devices,
        num_nodes=config.train.nodes,
        precision=config.train.precision,
        logger=logger,
        callbacks=[
            FirstState(work / STATES / "last.ckpt"),
            Progress(),
            _keep("best", work / STATES, monitor="val_mpjpe_mm"),
            _keep("last", work / STATES),
        ],
        default_root_dir=work,
        deterministic="warn" if torch.cuda.is_available() else False,  # a CPU always is
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # nothing is logged within an epoch; a longer one warns in short epochs
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    _fit(trainer, module, data, work, identity)
    if trainer.is_global_zero:
        _export(work / STATES, config, out, mlflow_run=logger.run_id)
        shutil.rmtree(work)
    trainer.strategy.barrier()
    return out / CHECKPOINT


def _fit(trainer: Trainer, module: TrainingModule, data: StoreData, work: Path, identity: dict) -> None:
    """Train from the last whole epoch in `work`, or from the start."""
    last = work / STATES / "last.ckpt"
    # Another process may be deleting another configuration's state just now: whose it is comes first.
    ours = _facts(work).get("identity") == identity and last.exists()
    if ours:
        state = torch.load(last, map_location="cpu", mmap=True, weights_only=False)
        data.first_epoch = len(state["history"])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            trainer.fit(module, datamodule=data, ckpt_path=last if ours else None, weights_only=False)
    except OSError as error:
        raise InputError(
            f"{work}: training stopped ({error}); make room, then the same command continues it"
        ) from error


def _keep(name: str, folder: Path, monitor: str | None = None) -> ModelCheckpoint:
    """Keep the newest state, or the one with the least `monitor`, as folder/name.ckpt."""
    return ModelCheckpoint(
        folder, filename=name, monitor=monitor, save_on_train_epoch_end=True, enable_version_counter=False
    )


def _parameters(config: Config) -> dict:
    """What decides a trained row."""
    return {k: v for k, v in to_dict(config).items() if k not in IRRELEVANT}


def _facts(work: Path) -> dict:
    """Whose run `work` holds; nothing where it holds none."""
    try:
        return json.loads((work / RUN_FACTS).read_text())
    except FileNotFoundError:
        return {}


def _logger(work: Path, config: Config, identity: dict, root: Path) -> MLFlowLogger:
    """The MLflow run; the same one if `work` holds an interrupted run of this configuration.

    What another configuration left in `work` is deleted. Of several processes the first does this alone.
    """
    names = {"row": identity["row"], "seed": identity["seed"], "root": root}
    if rank_zero_only.rank:
        return run_logger(config, **names)
    found = _facts(work)
    if found.get("identity") != identity:
        shutil.rmtree(work, ignore_errors=True)
        found = {}
    logger = run_logger(config, **names, run_id=found.get("mlflow_run"))
    write_json(work / RUN_FACTS, {"identity": identity, "mlflow_run": logger.run_id})
    return logger


def _export(states: Path, config: Config, out: Path, *, mlflow_run: str) -> None:
    """Write the best epoch's weights, the whole history and, apart, what differs from run to run.

    The same run again leaves the same bytes of checkpoint.ckpt and curves.csv, and nothing that depends on
    them reruns. All is read from the states: where Lightning starts processes of its own, this one's
    module has not been trained.
    """
    best, last = (
        torch.load(states / name, map_location="cpu", weights_only=False)
        for name in ("best.ckpt", "last.ckpt")
    )
    history = last["history"]
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
    facts = {
        "seconds": sum(record["seconds"] for record in history),
        "commit": provenance.commit(),
        "mlflow_run": mlflow_run,
    }
    write_json(out / RUN_FACTS, facts)
    # A stream, as torch.save writes the name of a file into it.
    with replacing(out / CHECKPOINT) as path, path.open("wb") as stream:
        torch.save(content, stream)
