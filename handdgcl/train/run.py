"""Train one row with one seed: once for what decides it, resumable, whole when it is there.

A run's identity is what decides the trained row: row, seed, parameters, training data, hands and the code
that training runs (`files.code_digest`). Where the outputs of that identity lie already, nothing is trained:
a stage that DVC runs again for a new figure or seed takes seconds, a changed weight, layer or image trains.

`python -m handdgcl.train ROW SEED` trains one row without its notebook, under torchrun or SLURM too.
"""

import inspect
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Trainer
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only

from handdgcl.config import Config, to_dict
from handdgcl.data.store import check_crop, check_hands
from handdgcl.data.twins import fingerprints
from handdgcl.files import BESIDE, InputError, code_digest, digest, holding, read_json, write_json
from handdgcl.hands import load_hands
from handdgcl.project import Project
from handdgcl.rows import ROWS, Row, get_row, parameters
from handdgcl.tracking import run_logger
from handdgcl.train.checkpoint import CHECKPOINT, RUN_FACTS, export
from handdgcl.train.module import TrainingModule
from handdgcl.train.parts import Progress, StoreData
from handdgcl.train.states import LAST, States, WholeFiles, usable_state

STATES = "states"  # folder of the states to resume from

_CONSTANTS = (bool, int, float, str, tuple, list, dict, type(None))
_KNOWN = ("handdgcl", "torch", "builtins")  # packages whose classes count by module, or do not change

log = logging.getLogger(__name__)


def train_row(row: str | Row, seed: int, project: Project, *, config: Config | None = None) -> Path:
    """Train a row, unless that has been done; go on where an interrupted run of the same identity stopped.

    Args:
        row: of `handdgcl.rows.ROWS`, or one of your own.
        seed: initial weights, order, augmentation and disturbance.
        project: its stores are trained on. A finished run of this identity is used again; a new one goes to
            the pipeline's folder, or to scratch if `project.scratch` or `config` is given.
        config: parameters; default: the project's.

    Returns:
        checkpoint.safetensors (the epoch with the best validation MPJPE), beside curves.csv and run.json.

    Raises:
        InputError: no such row or data, a disturbance that does not work, a file that cannot be written.
    """
    row = get_row(row) if isinstance(row, str) else row
    _check_data(project, config or project.config)
    wanted = identity(row, seed, config or project.config, project.store)
    mark = digest(wanted)
    published, scratch = project.row(row.name, seed), project.scratch_row(row.name, seed, mark)
    for out in (published, scratch):
        if _facts(out).get("identity") == wanted and (out / CHECKPOINT).exists():
            log.info("%s, seed %d: trained already, %s", row.name, seed, out)
            return out / CHECKPOINT
    out = scratch if project.scratch or config is not None else published
    run = Run(row, seed, config or project.config, project.store, out, project.work(row.name, seed, mark))
    if run.config.train.devices * run.config.train.nodes > 1 and not _is_launched():
        _launch(run, project, changed=config is not None)
    else:
        first = not rank_zero_only.rank  # of several processes one holds the folder for all
        with holding(run.work, "trains this row and seed") if first else nullcontext():
            _train(run, wanted)
    return out / CHECKPOINT


def _check_data(project: Project, asked: Config) -> None:
    """The stores are what these parameters ask for, as far as they say."""
    for split in ("train", "val"):
        check_crop(project.store / split, asked.data)
    if asked.generate != project.config.generate:
        raise InputError("generate: the data are rendered once; change params.yaml, then `dvc repro`")


class Run(NamedTuple):
    """A training run: what is trained, from what, and where its outputs and its state go."""

    row: Row
    seed: int
    config: Config
    store: Path
    out: Path
    work: Path


def identity(row: Row, seed: int, config: Config, store: Path) -> dict:
    """All that decides a trained row, by value or as a digest."""
    kind, own = row.disturbance and row.disturbance.__qualname__, []
    if row.disturbance:
        own.append(row.disturbance.__module__)
    if row.family:
        own.append(f"handdgcl.families.{row.family}")
    source = _source(row.disturbance) if row.disturbance else ""
    family = {"family": row.family, "parts": list(row.parts)} if row.family else {}
    return {
        "row": {"name": row.name, "disturbance": kind, "source": source, "terms": sorted(row.terms)} | family,
        "seed": seed,
        "parameters": parameters(row, config),
        "data": fingerprints(store, ("train", "val"), twins=row.twins),
        "code": code_digest("handdgcl.train.run", *own, leave_out=BESIDE),
    }


def _source(kind: type) -> str:
    """The members of a class and of its bases outside this package, as one of a notebook's."""
    parts = []
    for own in (each for each in kind.__mro__ if each.__module__.partition(".")[0] not in _KNOWN):
        for name, member in vars(own).items():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if inspect.isfunction(function):
                with suppress(OSError):  # a generated one
                    parts.append(inspect.getsource(function))
            elif isinstance(member, _CONSTANTS) and not name.startswith("__"):
                parts.append(f"{name} = {member!r}")
    return "\n".join(parts)


def _train(run: Run, identity: dict) -> None:
    """One process's part of a training run."""
    row, seed, config, store, out, work = run
    if config.train.precision == "bf16-mixed" and not (torch.cuda.is_available() or _has_bfloat16()):
        log.warning("this CPU has no bfloat16 units: training is much faster with train.precision=32-true")
    data, logger = StoreData(store, config, seed, twins=row.twins), _logger(run)
    hands = load_hands(config.data.hands)
    for split in ("train", "val"):
        check_hands(store / split, hands)
    module = TrainingModule(row, config, hands, seed=seed)
    several = config.train.devices * config.train.nodes > 1
    trainer = Trainer(
        max_epochs=config.train.epochs,
        accelerator="cuda" if torch.cuda.is_available() else "cpu",  # Apple's has no double precision
        devices=config.train.devices,
        num_nodes=config.train.nodes,
        # Buffers are equal by construction, and the queue alone is many megabytes.
        strategy=DDPStrategy(broadcast_buffers=False) if several else "auto",
        precision=config.train.precision,
        logger=logger,
        callbacks=[Progress(), States(work / STATES, digest(identity))],
        plugins=[WholeFiles()],
        default_root_dir=work,
        deterministic="warn" if config.train.deterministic and torch.cuda.is_available() else False,
        benchmark=not config.train.deterministic,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # nothing is logged within an epoch; a longer one warns in short epochs
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if trainer.world_size != config.train.devices * config.train.nodes:
        raise InputError(
            f"train.devices {config.train.devices} x train.nodes {config.train.nodes}: {trainer.world_size} "
            "process(es) were started; start as many (srun --ntasks, torchrun --nproc-per-node)"
        )
    _fit(trainer, module, data, work, digest(identity))
    if trainer.is_global_zero:
        export(work / STATES, config, out, identity=identity, mlflow_run=logger.run_id)
        shutil.rmtree(work)
    trainer.strategy.barrier()


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 by itself (AVX512-BF16 or AMX); elsewhere it is emulated."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _is_launched() -> bool:
    """Whether torchrun, or srun with several tasks, started this process; a batch job alone has not."""
    return "LOCAL_RANK" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def _fit(trainer: Trainer, module: TrainingModule, data: StoreData, work: Path, mark: str) -> None:
    """Train from the last whole epoch in `work`, or from the start."""
    state, resumed = usable_state(work / STATES, mark), None
    if state is not None:
        resumed, data.first_epoch = work / STATES / LAST, len(state["history"])
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resumed)
    except OSError as error:
        raise InputError(
            f"{work}: training stopped ({error}); make room, then the same command continues it"
        ) from error


def _launch(run: Run, project: Project, *, changed: bool) -> None:
    """Train in processes of their own, one for each device: those of a notebook may not fork.

    Raises:
        InputError: one of them failed; what they said is in the log above.
    """
    name, devices = run.row.name, run.config.train.devices
    if ROWS.get(name) is not run.row:
        raise InputError(f"row {name!r}: train.devices > 1 needs it in handdgcl/rows.py; or set that to 1")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={devices}", "-m", "handdgcl.train", name, str(run.seed)]
        command += ["--scratch"] if project.scratch else []
        if changed:
            write_json(Path(folder) / "config.json", to_dict(run.config))
            command += ["--config", f"{folder}/config.json"]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, **pipe) as processes:
            for line in processes.stdout:
                log.info("%s", line.rstrip())
    if processes.returncode:
        raise InputError(f"{name}, seed {run.seed}: training on {devices} devices failed; its log is above")


def _facts(folder: Path) -> dict:
    """Whose run a folder holds; nothing where it holds none."""
    path = folder / RUN_FACTS
    return read_json(path) if path.exists() else {}


def _logger(run: Run) -> MLFlowLogger:
    """The MLflow run; an interrupted one goes on. Of several processes the first notes which it is."""
    known = _facts(run.work).get("mlflow_run")
    logger = run_logger(run.config, row=run.row.name, seed=run.seed, root=Path(), run_id=known)
    if not rank_zero_only.rank:
        write_json(run.work / RUN_FACTS, {"mlflow_run": logger.run_id})
    return logger
