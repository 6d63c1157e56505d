"""The sweeps' results, read back, and their paired differences with intervals."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from handdgcl.errors import InputError
from handdgcl.report.claims import Measure
from handdgcl.report.differences import clusters, statistics
from handdgcl.report.statistics import holm
from handdgcl.report.tables import BASELINE
from handdgcl.sweeps.plan import FILE, Sweep, load_plan

MEASURES = {
    "mpjpe_mm": Measure("MPJPE", "mm", "samples.csv", "mpjpe_mm"),
    "mpvpe_mm": Measure("MPVPE", "mm", "samples.csv", "mpvpe_mm"),
    "mrrpe_mm": Measure("MRRPE", "mm", "samples.csv", "mrrpe_mm"),
    "scale_mm": Measure("Scale error", "mm", "samples.csv", "scale_mm"),
    "pixel_px": Measure("Pixel error", "px", "samples.csv", "pixel_px"),
}
MAIN = "mpjpe_mm"
TERMS = "terms"  # the sweep that leaves out one term of the loss each
# The error that each term of the loss is there for.
TASKS = {
    "joints_3d": "mpjpe_mm",
    "vertices_3d": "mpvpe_mm",
    "joints_2d": "pixel_px",
    "length": "scale_mm",
    "transition": "mrrpe_mm",
    "consistent": "mpjpe_mm",
    "contrast": "mpjpe_mm",
}
COLUMNS = [
    *("sweep", "row", "point", "minus_row", "minus_point", "measure", "unit", "seeds", "samples", "clusters"),
    *(
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "effect_size",
        "detectable",
        "least",
        "largest",
        "reference",
    ),
]

Pair = tuple[tuple[str, str], tuple[str, str]]  # (row, point) and what it is compared with


@dataclass(frozen=True)
class Result:
    """One sweep that was run: its definition, runs.csv, samples.csv and about.json."""

    sweep: Sweep
    runs: pd.DataFrame
    samples: pd.DataFrame
    about: dict


@dataclass(frozen=True)
class Sweeps:
    """All sweeps that were run, and what they say.

    Attributes:
        results: by name, in the order of sweeps.yaml.
        effects: of `effects`.
    """

    results: dict[str, Result]
    effects: pd.DataFrame


def read_sweeps(profile: str, file: Path = FILE) -> Sweeps | None:
    """The sweeps of a profile that have left results beside their definition; None if there are none.

    Args:
        profile: its name.
        file: sweeps.yaml; results stand in results/<sweep>/ beside it.

    Raises:
        InputError: a file is broken, or results are of other points than the definition's.
    """
    plan = load_plan(file)
    folders = {name: Path(file).parent / "results" / name for name in plan.sweeps}
    found = {
        name: _read(plan.sweeps[name], folder)
        for name, folder in folders.items()
        if plan.profile == profile and (folder / "about.json").exists()
    }
    return Sweeps(found, effects(found)) if found else None


def effects(results: dict[str, Result]) -> pd.DataFrame:
    """All paired differences of all sweeps: sweeps.csv.

    Returns:
        sweep, row, point, minus_row, minus_point, measure, unit, seeds, samples, clusters, difference,
        low and high (95 %), p, p_holm (corrected over a sweep's differences in MPJPE and, where terms
        are left out, in each term's own error; over the sweep's others apart), effect_size, detectable,
        least and largest (of the seeds), reference (mean of what it is compared with).
    """
    lines = []
    for name, result in results.items():
        label, cluster = clusters(result.samples)
        errors = {run: table.set_index("index") for run, table in result.samples.groupby("run")}
        run_of = result.runs.set_index(["row", "point", "seed"])["run"].sort_index()
        for pair in pairs(result):
            seeds = sorted(set(run_of.loc[pair[0]].index) & set(run_of.loc[pair[1]].index))
            for measure, about in MEASURES.items():
                ours, theirs = ({s: errors[run_of[(*at, s)]][measure] for s in seeds} for at in pair)
                table = (pd.DataFrame(ours) - pd.DataFrame(theirs)).T.dropna(axis=1)
                (row, point), (minus_row, minus_point) = pair
                where = {"sweep": name, "row": row, "point": point, "minus_row": minus_row}
                where |= {
                    "minus_point": minus_point,
                    "measure": measure,
                    "unit": about.unit,
                    "clusters": label,
                }
                reference = float(pd.DataFrame(theirs).mean(axis=None))
                lines.append(where | statistics(table, cluster) | {"reference": reference})
    table = pd.DataFrame(lines, columns=COLUMNS)
    asked = table["measure"].eq(MAIN) | of_tasks(table)
    table["p_holm"] = table.groupby([table["sweep"], asked])["p"].transform(lambda p: holm(p.to_numpy()))
    return table


def of_tasks(table: pd.DataFrame) -> pd.Series:
    """Which lines say what leaving out a term does to the error that it is there for."""
    return table["sweep"].eq(TERMS) & table["measure"].eq(table["point"].map(TASKS))


def pairs(result: Result) -> list[Pair]:
    """What is compared: each point with the base, of each row, and each row with the baseline at each point.

    Points that came to the same run as the base (a parameter that the row has no use for) are left out.
    """
    sweep, found = result.sweep, []
    runs = result.runs.groupby(["row", "point"])["run"].agg(set)
    for row in sweep.rows:
        at = [(row, point) for point in sweep.points if runs[row, point] != runs[row, sweep.base]]
        found += [(this, (row, sweep.base)) for this in at]
    if BASELINE in sweep.rows:
        for row in sweep.rows:
            if row != BASELINE:
                found += [((row, point), (BASELINE, point)) for point in sweep.points]
    return found


def _read(sweep: Sweep, folder: Path) -> Result:
    """One sweep's files."""
    remedy = f"run `dvc repro reports/sweeps/dvc.yaml:sweep@{folder.name}`"
    try:
        about = json.loads((folder / "about.json").read_text())
        text = {"point": str, "row": str, "run": str}
        runs, samples = (pd.read_csv(folder / f"{name}.csv", dtype=text) for name in ("runs", "samples"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: not whole ({error}); {remedy}") from error
    expected = {(row, point) for row in sweep.rows for point in sweep.points}
    found = set(zip(runs["row"], runs["point"], strict=True))
    if found != expected or set(runs["run"]) != set(samples["run"]):
        raise InputError(f"{folder}: not the rows and points of {FILE.name}; {remedy}")
    return Result(sweep, runs, samples, about)
