"""Measure on the test split, once: every sample's errors, and their means."""

import json
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from handdgcl import tracking
from handdgcl.config import Config, to_dict
from handdgcl.data.batch import HandBatch, with_joints
from handdgcl.data.loader import eval_batches, open_store
from handdgcl.data.store import Store, read_manifest
from handdgcl.evaluate.interaction import ERRORS, TruePair, failures, interaction_errors, true_interaction
from handdgcl.evaluate.masks import TrueMasks, mask_errors, true_masks
from handdgcl.evaluate.view import view_angle
from handdgcl.files import InputError, replacing, write_json
from handdgcl.hands import Hands, load_hands
from handdgcl.hands.camera import bone_scale, project
from handdgcl.hands.contact import sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT, ROOT_JOINT
from handdgcl.model.metrics import Points, concatenate, error_table, joint_means, means, position_errors
from handdgcl.model.network import Output
from handdgcl.rows import get_row, parameters
from handdgcl.train.checkpoint import load_model

MEAN_HAND = "mean"
BATCH = 128

Predictor = Callable[[HandBatch], Output]


class TrueSplit(NamedTuple):
    """What interaction is compared with, in the store's order."""

    pairs: list[TruePair]
    masks: TrueMasks


def evaluate_checkpoint(checkpoint: Path, config: Config, *, store: Path, out: Path) -> dict[str, float]:
    """Measure a trained row on the test split.

    Args:
        checkpoint: the trained row.
        config: the study's parameters, which the checkpoint must have been trained with.
        store: the folder with the store test/.
        out: takes samples.csv, joints.json and metrics.json.

    Returns:
        the means, as in metrics.json.

    Raises:
        InputError: the checkpoint is of another configuration; the message names the parameter.
    """
    trained = load_model(checkpoint, hands=config.data.hands)
    _same_configuration(checkpoint, trained.info["row"], to_dict(trained.config), to_dict(config))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, hands = trained.network.to(device), trained.hands.to(device)
    facts = json.loads(checkpoint.with_name("run.json").read_text())  # of training
    about = {key: trained.info[key] for key in ("row", "seed", "epoch", "val_mpjpe_mm")}
    about |= {key: facts[key] for key in ("seconds", "mlflow_run")} | {"trained_at": facts["commit"]}
    return _measure(lambda batch: network(batch.image), hands, config, store=store, out=out, about=about)


def evaluate_mean_hand(config: Config, *, store: Path, out: Path) -> dict[str, float]:
    """Measure the row without an image: the training set's mean hands, the anchor of the tables."""
    hands = load_hands(config.data.hands)
    mean = mean_hand(open_store(store / "train"), hands)

    def predict(batch: HandBatch) -> Output:
        return Output(*(value.expand(len(batch.image), *value.shape[1:]) for value in vars(mean).values()))

    about = {"row": MEAN_HAND, "seed": 0}
    return _measure(predict, hands, config, store=store, out=out, about=about)


def mean_hand(store: Store, hands: Hands) -> Output:
    """The mean of the training split in the network's terms, batch of one; it has no camera or graph."""
    sums, count = None, 0
    for start in tqdm(range(0, len(store), BATCH), desc="mean hand", leave=False):
        vertices = torch.as_tensor(store.vertices(range(start, min(start + BATCH, len(store)))))
        joints = hands.joints(vertices)
        root, unit = joints[:, :, ROOT_JOINT, None], bone_scale(joints)
        relative = (root[:, LEFT, 0] - root[:, RIGHT, 0]) / unit[..., 0, 0].mean(1, keepdim=True)
        parts = ((vertices - root) / unit, unit[..., 0, 0], relative)
        parts = [part.double().sum(0, keepdim=True) for part in parts]
        sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
        count += len(vertices)
    vertices, scale, relative = ((part / count).float() for part in sums)
    nothing = torch.zeros(1, 0)
    return Output(vertices, scale, nothing, relative, nothing, nothing)


@torch.inference_mode()
def _measure(
    predict: Predictor, hands: Hands, config: Config, *, store: Path, out: Path, about: dict
) -> dict[str, float]:
    """Errors of all test samples by one predictor, written to `out`."""
    test, device = open_store(store / "test"), hands.template.device
    truth = true_split(store / "test", read_manifest(store / "test").fingerprint, config.data.hands)
    errors, start = [], time.monotonic()
    for raw in tqdm(eval_batches(test, batch_size=BATCH, workers=config.data.workers), desc="test"):
        batch = with_joints(type(raw)(**{k: v.to(device) for k, v in vars(raw).items()}), hands)
        output = predict(batch)
        found = sample_errors(output, batch, hands) | contact_errors(output, batch, truth, hands)
        errors.append(found | {"view_angle_deg": view_angle(batch.joints)})
    errors = concatenate(errors)
    table = error_table(errors, test.table)
    metrics = means(table)
    with replacing(out / "samples.csv") as path:
        table.to_csv(path, index=False, float_format="%.5g")
    write_json(out / "joints.json", joint_means(errors))
    record = about | {
        "samples": len(test),
        "metrics": metrics,
        "not_measured": failures({name: errors[name] for name in ERRORS}),
        "test_seconds": time.monotonic() - start,
        "commit": tracking.commit(),
        "machine": tracking.machine(),
        "versions": tracking.versions(),
        "parameters": to_dict(config),
    }
    write_json(out / "metrics.json", record)
    return metrics


def sample_errors(output: Output, batch: HandBatch, hands: Hands) -> dict[str, Tensor]:
    """All position errors of a batch; pixel errors where the prediction has a camera."""
    prediction = Points.from_vertices(output.metric_vertices(), hands)
    truth = Points.from_vertices(batch.vertices, hands)
    if output.camera.numel():
        unit_joints = hands.joints(output.vertices)
        joints_2d = _weak_perspective(output, unit_joints)
        prediction = Points(prediction.vertices, prediction.joints, joints_2d)
        truth = Points(truth.vertices, truth.joints, batch.joints_2d)
    return position_errors(prediction, truth)


@lru_cache(maxsize=1)
def true_split(folder: Path, fingerprint: str, hands: str) -> TrueSplit:
    """The truth's own interaction and masks, measured once for all rows.

    Args:
        folder: a store.
        fingerprint: of its manifest: a store that was made anew is measured anew.
        hands: where its hand models are.
    """
    store, models, pairs, packed = Store(folder), load_hands(hands), [], []
    faces = sealed_faces(models)
    for start in tqdm(range(0, len(store), BATCH), desc="true contacts", leave=False):
        rows = range(start, min(start + BATCH, len(store)))
        vertices = store.vertices(rows)
        pairs += true_interaction(vertices, faces)
        packed.append(true_masks(project(vertices, store.intrinsics(rows)[:, None]), models.faces))
    return TrueSplit(pairs, TrueMasks.concatenate(packed))


def contact_errors(output: Output, batch: HandBatch, truth: TrueSplit, hands: Hands) -> dict[str, Tensor]:
    """Penetration and contacts of a batch, and masks where the prediction has a camera.

    The hands stand to each other as the network says (`Output.metric_vertices`), and their masks where its
    own weak-perspective camera sees them: nothing of the truth is put in.
    """
    index = batch.index.cpu().numpy()
    pairs = [truth.pairs[k] for k in index]
    errors = interaction_errors(output.metric_vertices().cpu(), pairs, sealed_faces(hands))
    if output.camera.numel():
        points_2d = _weak_perspective(output, output.vertices).cpu()
        errors |= mask_errors(points_2d, truth.masks[index], hands.faces.cpu())
    return {name: value.to(batch.vertices.device) for name, value in errors.items()}


def _weak_perspective(output: Output, points: Tensor) -> Tensor:
    """Where the network's camera sees points `[B, H, P, 3]` in unit bones: px of the crop, `[B, H, P, 2]`."""
    return output.camera[..., None, :1] * points[..., :2] + output.camera[..., None, 1:]


def _same_configuration(path: Path, row: str, trained: dict, asked: dict) -> None:
    """Refuse a checkpoint if a parameter that decides its row is not the one asked for.

    The data's parameters are left out: folders may have moved.
    """
    for key in parameters(get_row(row)):
        section, _, name = key.partition(".")
        for inner in [name] if name else asked[section]:
            was, now = trained[section][inner], asked[section][inner]
            if section != "data" and was != now:
                raise InputError(
                    f"{path}: trained with {section}.{inner} = {was!r}, not {now!r}; "
                    f"train it again (`dvc repro`) or set {section}.{inner} back"
                )
