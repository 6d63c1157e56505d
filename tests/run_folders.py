"""Run folders with random errors, as training and evaluation leave them, for the report's tests."""

import json

import numpy as np
import pandas as pd

from handdgcl.hands.topology import HANDS, JOINTS
from handdgcl.model.metrics import means
from handdgcl.rows import ROWS

MACHINE = {"processor": "Some CPU", "cores": 2, "memory_gib": 24, "accelerator": "none"}


def leave_run(folder, row, seed, *, level=20.0, images=4, **info):
    """What a run leaves, with random errors."""
    rng = np.random.default_rng([seed, len(row), int(level)])
    folder = folder / f"{row}-{seed}"
    folder.mkdir(parents=True)
    index = np.repeat(range(images), 2)
    samples = pd.DataFrame({"index": index, "image_id": 7 * index, "hand": ["left", "right"] * images})
    for name in ("mpjpe_mm", "mpvpe_mm"):
        samples[name] = rng.normal(level, 2, 2 * images).round(4)
    samples["iou"] = (index / images).round(4)
    samples["view_angle_deg"] = (index / images * 180).round(4)
    samples.to_csv(folder / "samples.csv", index=False)
    if row in ROWS:
        curves = {"epoch": range(1, 4), "train_loss": rng.random(3), "val_mpjpe_mm": rng.random(3)}
        curves["val_mpvpe_mm"] = curves["val_mpjpe_mm"] + 1
        pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
        names = ("probe_graph_mm", "effective_rank", "uniformity")
        names += () if row == "baseline" else ("probe_disturbed_mm", "effective_rank_disturbed", "alignment")
        features = dict(zip(names, rng.random(len(names)).round(4), strict=True))
        pd.DataFrame([features]).to_csv(folder / "features.csv", index=False)
    origin = {"row": row, "seed": seed, "commit": "c0ffee", "machine": MACHINE, "parameters": {"a": {"b": 1}}}
    (folder / "metrics.json").write_text(json.dumps(origin | {"metrics": means(samples)} | info))
    (folder / "joints.json").write_text(json.dumps({hand: dict.fromkeys(JOINTS, level) for hand in HANDS}))
    return folder
