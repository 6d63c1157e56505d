"""Results of sweeps with random errors, as the sweeps leave them, for the report's tests."""

import json

import numpy as np
import pandas as pd
import yaml
from run_folders import MACHINE

from handdgcl.sweeps.measure import ERRORS
from handdgcl.sweeps.plan import load_plan


def leave_sweeps(folder, definition, *, shift=None, images=60, seeds=(0, 1, 2), noise=0.8):
    """sweeps.yaml and results/ as they stand after all sweeps were run.

    Args:
        folder: takes both.
        definition: contents of sweeps.yaml.
        shift: (sweep, row, point, error) -> what that has more.

    Returns:
        sweeps.yaml.
    """
    file = folder / "sweeps.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(definition, sort_keys=False, allow_unicode=True))
    plan, subject = load_plan(file), np.arange(images) // (images // 10)
    rng = np.random.default_rng(0)
    level = {error: 20 + rng.normal(0, 2, 10)[subject] + rng.normal(0, 3, images) for error in ERRORS}
    for name, sweep in plan.sweeps.items():
        lines, tables = [], []
        for row in sweep.rows:
            for point in sweep.points:
                for seed in seeds:
                    # A parameter that the baseline has no use for leaves it the same run.
                    same = row == "baseline" and name == "strength"
                    run = f"{row}-{seed}-{sweep.base if same else point}"
                    own = np.random.default_rng([len(name), len(row), seed, *map(ord, run)])
                    table = pd.DataFrame({"run": run, "index": range(images), "subject": subject})
                    for error in ERRORS:
                        more = (shift or {}).get((name, row, point, error), 0)
                        draw = own.normal(0, 0.1) + own.normal(0, noise, images)
                        table[error] = (level[error] + more + draw).round(3)
                    line = {"row": row, "point": point, "seed": seed, "run": run} | sweep.points[point]
                    line |= table[list(ERRORS)].mean().to_dict() | {"pose_correlation": 0.3 + 0.01 * seed}
                    lines.append(line | {"seconds": 30.0, "commit": "c0ffee"})
                    if run not in {t["run"].iloc[0] for t in tables}:
                        tables.append(table)
        out = folder / "results" / name
        out.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(lines).to_csv(out / "runs.csv", index=False)
        pd.concat(tables).to_csv(out / "samples.csv", index=False)
        about = {"commits": ["c0ffee"], "machines": [MACHINE], "parameters": {"train": {"epochs": 2}}}
        (out / "about.json").write_text(json.dumps(about))
    return file
