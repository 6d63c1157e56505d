"""Measure on the test split: every sample's errors, and their means.

Outputs of each row and seed: samples.csv, joints.json, features.csv, curves.csv and metrics.json. They are
kept as long as their identity is the same, so a new seed costs only that seed.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from handdgcl import tracking
from handdgcl.config import Config, to_dict
from handdgcl.data.batch import HandBatch, with_joints
from handdgcl.data.loader import eval_batches, open_store
from handdgcl.data.store import Store, check_crop, check_hands, read_manifest
from handdgcl.data.twins import fingerprints
from handdgcl.evaluate import interaction
from handdgcl.evaluate.features import write_features
from handdgcl.evaluate.mean_hand import BATCH, in_batches, mean_hand
from handdgcl.files import BESIDE, InputError, code_digest, read_json, write_file, write_json
from handdgcl.hands import Hands, load_hands
from handdgcl.hands.camera import MM, bone_scale, project, weak_perspective
from handdgcl.hands.contact import sealed_faces
from handdgcl.model.metrics import (
    Points,
    concatenate,
    error_table,
    joint_means,
    means,
    position_errors,
    view_angle,
)
from handdgcl.model.network import Output
from handdgcl.project import SPLITS, Project
from handdgcl.rows import MEAN_HAND, TABLE_2, Row, get_row, parameters
from handdgcl.train.checkpoint import RUN_FACTS, load_model

METRICS = "metrics.json"  # written last: without it the outputs do not count

Predictor = Callable[[HandBatch], Output]


class TrueSplit(NamedTuple):
    """What interaction is compared with, in the store's order."""

    pairs: list[interaction.TruePair]
    masks: interaction.TrueMasks


def evaluate_project(project: Project) -> None:
    """Measure the mean hand and all rows and seeds of the parameters; remove the folders of others.

    Raises:
        InputError: a checkpoint is missing, damaged or of other parameters, or a store is missing.
    """
    config = project.config
    runs = [(r, s) for r in (*TABLE_2, *config.controls, *config.families) for s in config.seeds]
    evaluate_mean_hand(project)
    for row, seed in runs:
        evaluate_row(project, row, seed)
    asked = {project.results(row, seed) for row, seed in [(MEAN_HAND, 0), *runs]}
    for folder in project.results(MEAN_HAND, 0).parent.iterdir():
        if folder.is_dir() and folder not in asked:
            shutil.rmtree(folder)


def evaluate_row(project: Project, row: str, seed: int) -> dict[str, float]:
    """Measure a trained row, and its features, unless that has been done; the means, as in metrics.json.

    Raises:
        InputError: the checkpoint is missing, damaged or of other parameters; the message names them.
    """
    config, checkpoint, out = project.config, project.checkpoint(row, seed), project.results(row, seed)
    trained = load_model(checkpoint, hands=config.data.hands)
    _check_parameters(checkpoint, get_row(row), trained.config, config)
    identity = _identity(project, checkpoint, get_row(row))
    if metrics := _kept(out, identity):
        return metrics
    facts = read_json(checkpoint.with_name(RUN_FACTS))  # of training
    about = {key: trained.info[key] for key in ("row", "seed", "epoch", "val_mpjpe_mm")}
    if missing := {"seconds", "mlflow_run", "commit"} - set(facts):
        path = checkpoint.with_name(RUN_FACTS)
        raise InputError(f"{path}: {min(missing)} is missing; delete its folder, then `dvc repro`")
    about |= {key: facts[key] for key in ("seconds", "mlflow_run")}
    about |= {"trained_at": facts["commit"], "identity": identity}
    for part in (trained.network, trained.hands, trained.dgclnet):
        if part is not None and torch.cuda.is_available():
            part.to("cuda")
    if not get_row(row).family:
        write_features(trained, store=project.store, out=out)
    write_file(out / "curves.csv", checkpoint.with_name("curves.csv").read_bytes())
    metrics = _measure(lambda batch: trained.network(batch.image), trained.hands, project, out, about)
    logger = tracking.run_logger(config, row=row, seed=seed, root=Path(), run_id=facts["mlflow_run"])
    logger.log_metrics({f"test_{name}": value for name, value in metrics.items()})
    logger.experiment.log_artifacts(logger.run_id, str(out))
    return metrics


def evaluate_mean_hand(project: Project) -> dict[str, float]:
    """Measure the row without an image: the training set's mean hands, the anchor of the tables."""
    out, identity = project.results(MEAN_HAND, 0), _identity(project)
    if metrics := _kept(out, identity):
        return metrics
    hands = load_hands(project.config.data.hands)
    mean = mean_hand(Store(project.store / "train").check(), hands)
    about = {"row": MEAN_HAND, "seed": 0, "identity": identity}
    return _measure(lambda batch: mean.repeated(len(batch.index)), hands, project, out, about)


@torch.inference_mode()
def split_errors(
    predict: Predictor, folder: Path, hands: Hands, *, workers: int = 0, twins: bool = False
) -> Iterator[tuple[Output, HandBatch, dict[str, Tensor]]]:
    """Run a predictor over a store: output, batch and position errors (see `output_errors`), in its order."""
    for raw in eval_batches(open_store(folder, twins=twins), batch_size=BATCH, workers=workers):
        batch = with_joints(raw.to(hands.template.device), hands)
        output = predict(batch)
        yield output, batch, output_errors(output, batch, hands)


def output_errors(output: Output, batch: HandBatch, hands: Hands) -> dict[str, Tensor]:
    """`position_errors`, with pixels where the prediction has a camera, and `scale_mm` of |J9 - J0|."""
    prediction = output.points(hands)
    truth = Points.from_vertices(batch.vertices, hands, batch.joints_2d)
    if output.camera.numel():
        joints_2d = weak_perspective(output.camera, output.joints_of(hands))
        prediction = Points(prediction.vertices, prediction.joints, joints_2d)
    scale = [bone_scale(points.joints)[..., 0, 0] for points in (prediction, truth)]
    return position_errors(prediction, truth) | {"scale_mm": MM * (scale[0] - scale[1]).abs()}


def contact_errors(output: Output, batch: HandBatch, truth: TrueSplit, hands: Hands) -> dict[str, Tensor]:
    """Penetration and contacts of a batch, and masks where the prediction has a camera.

    Places and camera are the network's own (`Output.metric_vertices`): nothing of the truth is put in.
    """
    index = batch.index.cpu().numpy()
    pairs = [truth.pairs[k] for k in index]
    errors = interaction.interaction_errors(output.metric_vertices().cpu(), pairs, sealed_faces(hands))
    if output.camera.numel():
        points_2d = weak_perspective(output.camera, output.vertices).cpu()
        errors |= interaction.mask_errors(points_2d, truth.masks[index], hands.faces.cpu())
    return {name: value.to(batch.vertices.device) for name, value in errors.items()}


@lru_cache(maxsize=1)
def true_split(folder: Path, fingerprint: str, hands: str) -> TrueSplit:
    """Interaction and masks of a store's truth, measured once for all rows; `hands`: its models' folder.

    The fingerprint is the manifest's: a store that was made anew is measured anew.
    """
    store, models, pairs, masks = Store(folder), load_hands(hands), [], []
    for rows in in_batches(store):
        vertices = store.vertices(rows)
        pairs += interaction.true_interaction(vertices, sealed_faces(models))
        masks.append(interaction.true_masks(project(vertices, store.intrinsics(rows)[:, None]), models.faces))
    parts = ([getattr(mask, name) for mask in masks] for name in ("windows", "packed"))
    return TrueSplit(pairs, interaction.TrueMasks(*map(np.concatenate, parts)))


def _measure(predict: Predictor, hands: Hands, project: Project, out: Path, about: dict) -> dict[str, float]:
    """Errors of all test samples by one predictor, written to `out` with what there is to say of the run."""
    config, folder, start, parts = project.config, project.store / "test", time.monotonic(), []
    check_hands(folder, hands)
    check_crop(folder, config.data)
    truth = true_split(folder, read_manifest(folder).fingerprint, config.data.hands)
    twins = about["row"] != MEAN_HAND and get_row(about["row"]).twins
    for output, batch, errors in split_errors(
        predict, folder, hands, workers=config.data.workers, twins=twins
    ):
        errors |= {"view_angle_deg": view_angle(batch.joints)}
        parts.append(
            errors | ({} if output.joints is not None else contact_errors(output, batch, truth, hands))
        )
    errors = concatenate(parts)
    table = error_table(errors, Store(folder).table)
    metrics = means(table)
    write_file(out / "samples.csv", table.to_csv(index=False, float_format="%.5g"))
    write_json(out / "joints.json", joint_means(errors))
    record = about | {
        "samples": len(table) // 2,
        "metrics": metrics,
        "not_measured": interaction.failures({n: errors[n] for n in interaction.ERRORS if n in errors}),
        "test_seconds": time.monotonic() - start,
        "commit": tracking.commit(),
        "machine": tracking.machine(),
        "versions": tracking.versions(),
        "parameters": to_dict(config),
    }
    write_json(out / METRICS, record)
    return metrics


def _identity(project: Project, checkpoint: Path | None = None, row: Row | None = None) -> dict:
    """All that decides the outputs of a trained row, or of the mean hand."""
    own = [f"handdgcl.families.{row.family}"] if row and row.family else []
    return {
        "checkpoint": checkpoint and hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "data": fingerprints(project.store, SPLITS, twins=row is not None and row.twins),
        "code": code_digest("handdgcl.evaluate.run", "handdgcl.evaluate.features", *own, leave_out=BESIDE),
    }


def _kept(out: Path, identity: dict) -> dict[str, float] | None:
    """The metrics of whole outputs of that identity, if `out` holds them; others stop to count."""
    path = out / METRICS
    record = read_json(path) if path.exists() else {}
    if record.get("identity") == identity:
        return record["metrics"]
    path.unlink(missing_ok=True)  # an interrupted measurement leaves files of two
    return None


def _check_parameters(checkpoint: Path, row: Row, trained: Config, asked: Config) -> None:
    """Refuse a checkpoint if a parameter that decides its row is not the one asked for."""
    flat = lambda config: pd.json_normalize(parameters(row, config)).to_dict("records")[0]
    was, now = flat(trained), flat(asked)
    for key, value in now.items():
        if was[key] != value and key != "data.hands":  # that folder may have moved
            name = f"disturb.{row.disturbance.name}" if key == "strength" else key
            name = f"rates.{row.name}" if key == "train.lr" and row.name in asked.rates else name
            raise InputError(
                f"{checkpoint}: trained with {name} = {was[key]!r}, not {value!r}; "
                f"train it again (`dvc repro`) or set {name} back"
            )
