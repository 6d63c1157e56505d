"""Folders of runs with random errors, as training and evaluation write them, for the report's tests."""

import json

import numpy as np
import pandas as pd

from handdgcl.hands.topology import HANDS, JOINTS
from handdgcl.model.metrics import means

MACHINE = {"processor": "Some CPU", "cores": 2, "memory_gib": 24, "accelerator": "none"}


def write_run(folder, row, seed, *, level=20.0, images=4, curve=None, columns=None, **info):
    """One run: its errors have mean `level`, `columns` are added to samples.csv, `info` to metrics.json."""
    rng = np.random.default_rng([seed, len(row), int(level)])
    folder = folder / f"{row}-{seed}"
    folder.mkdir(parents=True)
    index = np.repeat(range(images), 2)
    samples = pd.DataFrame({"index": index, "image_id": 7 * index, "hand": ["left", "right"] * images})
    for name in ("mpjpe_mm", "mpvpe_mm"):
        samples[name] = rng.normal(level, 2, 2 * images).round(4)
    samples = samples.assign(iou=(index / images).round(4), **(columns or {}))
    samples.to_csv(folder / "samples.csv", index=False)
    if row != "mean":
        curve = rng.random(3) if curve is None else curve
        curves = {"epoch": range(1, len(curve) + 1), "train_loss": 1.0, "val_mpjpe_mm": curve}
        pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
        pd.DataFrame([{"effective_rank": rng.random()}]).to_csv(folder / "features.csv", index=False)
    origin = {"row": row, "seed": seed, "commit": "c0ffee", "machine": MACHINE, "parameters": {"a": {"b": 1}}}
    (folder / "metrics.json").write_text(json.dumps(origin | {"metrics": means(samples)} | info))
    (folder / "joints.json").write_text(json.dumps({hand: dict.fromkeys(JOINTS, level) for hand in HANDS}))
    return folder
