"""Peak memory of a training step beside the bare backbone's, each in a process of its own."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from handdgcl.bench.bench import CPU, Bench, random_batch
from handdgcl.bench.measure import BYTES_PER_GB, Figure, resident_bytes, run_python
from handdgcl.bench.steps import BASELINE, FULL, BackboneStep, TrainingStep
from handdgcl.config import load_config
from handdgcl.hands import load_hands
from handdgcl.project import show_progress
from handdgcl.rows import get_row

BAR = 1.15
STEPS = 3
BARE = "bare"


def memory(bench: Bench) -> Iterator[Figure]:
    """High-water marks, whole processes: imports, weights, optimizer, activations."""
    peaks = {BARE: [], BASELINE: [], FULL: []}
    for _ in range(bench.turns(2)):
        for name, found in peaks.items():
            found.append(
                run_python("handdgcl.bench.memory", name, bench.parameters, bench.device.type, bench.batch)
            )
    bare = {key: np.array([peak[key] for peak in peaks[BARE]]) for key in ("peak", "before")}
    for name in (BASELINE, FULL):
        peak, before = (np.array([found[key] for found in peaks[name]]) for key in ("peak", "before"))
        about = {
            "image_size": bench.large.data.image_size,
            "batch": bench.batch,
            "gigabytes": float(np.median(peak)) / BYTES_PER_GB,
            "bare_gigabytes": float(np.median(bare["peak"])) / BYTES_PER_GB,
        }
        title = f"peak memory of a training step, {get_row(name).title} ÷ bare backbone's"
        yield Figure(title, (peak / bare["peak"]).tolist(), device=bench.device.type, bar=BAR, about=about)
        without = ((peak - before) / (bare["peak"] - bare["before"])).tolist()
        yield Figure(f"{title}, imports left out of both", without, device=bench.device.type, about=about)


def main() -> None:
    """One side's peak, as JSON: in bytes, `before` anything is built and at the end."""
    parser = argparse.ArgumentParser(prog="python -m handdgcl.bench.memory", description=__doc__)
    parser.add_argument("side")
    parser.add_argument("parameters", type=Path)
    parser.add_argument("device", type=torch.device)
    parser.add_argument("batch", type=int)
    options = parser.parse_args()
    show_progress()
    config = load_config(options.parameters)
    before = resident_bytes()[0]
    if options.side == BARE:
        step = BackboneStep(config, options.batch, options.device)
    else:
        hands = load_hands(config.data.hands)
        raw = random_batch(options.batch, config.data.image_size, hands, options.device)
        step = TrainingStep(options.side, config, hands, raw, precision=config.train.precision)
    for _ in range(STEPS):
        step()
    if options.device.type == CPU.type:
        peak = resident_bytes()[1]
    else:
        peak, before = torch.cuda.max_memory_allocated(options.device), 0
    sys.stdout.write(json.dumps({"before": before, "peak": peak}) + "\n")


if __name__ == "__main__":
    main()
