"""Errors of a trained run on every validation sample, by the project's metric."""

from pathlib import Path

import pandas as pd
import torch

from handdgcl.data.batch import finish
from handdgcl.data.camera import bone_scale
from handdgcl.data.loader import eval_batches, open_store
from handdgcl.evaluate import load_model
from handdgcl.evaluate.run import BATCH, sample_errors
from handdgcl.model.metrics import MM, concatenate

# Of both hands' mean; what each is: handdgcl/evaluate/protocol.py, but for scale_mm (here).
ERRORS = ("mpjpe_mm", "mpvpe_mm", "mrrpe_mm", "scale_mm", "pixel_px")


@torch.inference_mode()
def validation_samples(checkpoint: Path, store: Path) -> pd.DataFrame:
    """The errors of a checkpoint on the validation split; the test split is for the study's rows alone.

    Args:
        checkpoint: a trained run.
        store: the folder with the store val/.

    Returns:
        a line for each sample: index, subject, then `ERRORS`, each the mean of both hands. scale_mm is
        the absolute error of the middle metacarpal's length, the scale that the network predicts.

    Raises:
        InputError: the checkpoint or the store cannot be read.
    """
    network, hands, _, _ = load_model(checkpoint)
    val, errors = open_store(store / "val"), []
    for raw in eval_batches(val, batch_size=BATCH, workers=0):
        batch = finish(raw, hands)
        output = network(batch.image)
        found = sample_errors(output, batch, hands)
        true_scale = bone_scale(batch.joints)[..., 0, 0]
        found["scale_mm"] = (
            MM * (bone_scale(hands.joints(output.metric_vertices()))[..., 0, 0] - true_scale).abs()
        )
        errors.append({name: found[name] for name in ERRORS})
    table = val.table[["subject"]].rename_axis("index").reset_index()
    for name, value in concatenate(errors).items():
        table[name] = (value.mean(1) if value.dim() == 2 else value).numpy()
    return table
