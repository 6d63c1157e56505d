"""A profile's results as tidy tables, checked against each other; Tables 1 and 2."""

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from handdgcl.files import InputError, write_file
from handdgcl.model.metrics import means
from handdgcl.rows import FAMILIES, MEAN_HAND, ROWS, TABLE_2

BASELINE, DGCLNET, BEST = "baseline", "dgclnet", "similarity"
ERRORS = ("mpjpe", "mpvpe")
TOLERANCE = 1e-4  # relative, between metrics.json and the mean of samples.csv: the rounding of the CSV
# Parameters that decide no row.
_OF_NO_ROW = ("profile", "reports", "seeds", "added", "controls", "families", "rates")
_REMEDY = "delete its folder and run `dvc repro` again"
_RUN = ["row", "title", "seed"]
# Columns of samples.csv that come from the data.
_TEXT = ("image_id", "hand", "file_name", "subject", "frame")
# Of numbers, how far rounding on another machine may move them.
_ROUNDED = {"iou": 0.01, "view_angle_deg": 0.1, "true_penetration_depth_mm": 0.1}


@dataclass(frozen=True)
class Results:
    """All runs of a profile, the mean hand first, then in the order of `ROWS`, then by seed.

    Attributes, all with the columns row, title, seed:
        metrics: one line per run: means over the test split, each in the unit its name ends in.
        samples: samples.csv of all runs, one line per test sample and hand.
        curves: curves.csv, one line per epoch (the mean hand has none).
        joints: one line per hand and joint: hand, joint, error_mm.
        features: features.csv, one line per run that has one.
        facts: one line per run: run, commit, machine, seconds and, as nested dicts, parameters.
    """

    metrics: pd.DataFrame
    samples: pd.DataFrame
    curves: pd.DataFrame
    joints: pd.DataFrame
    features: pd.DataFrame
    facts: pd.DataFrame


def row_title(row: str) -> str:
    """The name that tables and figures show."""
    return "Mean hand (no image)" if row == MEAN_HAND else ROWS[row].title


def read_results(folder: Path) -> Results:
    """Read all runs of a profile, each in a folder `<row>-<seed>`; unknown rows are left out with a warning.

    Raises:
        InputError: there is no run; a file is missing or broken; a mean of metrics.json is not the mean
            of samples.csv; two runs were measured on different samples.
    """
    folder, order = Path(folder), [MEAN_HAND, *ROWS]
    runs = [_read_run(path.parent) for path in folder.glob("*/metrics.json")]
    unknown = sorted({run["row"] for run in runs} - set(order))
    if unknown:
        warnings.warn(f"{folder}: left out, not in handdgcl/rows.py: {', '.join(unknown)}", stacklevel=2)
    runs = [run for run in runs if run["row"] in order]
    if not runs:
        raise InputError(f"{folder}: no run of a known row has a metrics.json; run `dvc repro` first")
    runs.sort(key=lambda run: (order.index(run["row"]), run["seed"]))
    for run in runs:
        if not _same_samples(run["samples"], runs[0]["samples"]):
            pair = f"{run['folder'].name} and {runs[0]['folder'].name}"
            raise InputError(f"{folder}: {pair} were measured on different samples; {_REMEDY}")
    return Results(**{field.name: _stack(runs, field.name) for field in fields(Results)})


def _same_samples(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether all that the data alone decide is the same, but for another machine's rounding."""
    shared = set(one) & set(other)
    text = [name for name in _TEXT if name in shared]
    return one[text].astype(str).equals(other[text].astype(str)) and all(
        np.allclose(one[name], other[name], rtol=0, atol=most, equal_nan=True)
        for name, most in _ROUNDED.items()
        if name in shared
    )


def _stack(runs: list[dict], name: str) -> pd.DataFrame:
    """One table of all runs, with the columns that say which run a line is of."""
    tables = []
    for run in (run for run in runs if name in run):
        about = {"row": run["row"], "title": row_title(run["row"]), "seed": run["seed"]}
        about = pd.DataFrame(about, index=run[name].index)
        tables.append(about.join(run[name].drop(columns=_RUN, errors="ignore")))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_RUN)


def _read_run(folder: Path) -> dict:
    """One run's files, checked against each other."""
    info = _read(folder / "metrics.json", ("commit", "machine", "metrics", "parameters", "row", "seed"))
    samples = _read(folder / "samples.csv", ("hand", "image_id", "index", "mpjpe_mm"))
    metrics = info.pop("metrics")
    for name, value in means(samples).items():
        if name not in metrics or not abs(metrics[name] - value) <= TOLERANCE * abs(value):
            raise InputError(
                f"{folder}: {name} is {metrics.get(name)} in metrics.json, "
                f"but the samples in samples.csv average to {value:.4f}; {_REMEDY}"
            )
    joints = pd.DataFrame(_read(folder / "joints.json")).rename_axis("joint").reset_index()
    optional = {name: folder / f"{name}.csv" for name in ("curves", "features")}
    tables = {name: _read(path) for name, path in optional.items() if path.exists()}
    return tables | {
        "folder": folder,
        "row": info["row"],
        "seed": int(info["seed"]),
        "samples": samples,
        "metrics": pd.DataFrame([metrics]),
        "joints": joints.melt("joint", var_name="hand", value_name="error_mm"),
        "facts": pd.DataFrame([info | {"run": folder.name}]),
    }


def _read(path: Path, needed: Iterable[str] = ()) -> dict | pd.DataFrame:
    """A JSON or CSV file that has the keys or columns needed."""
    try:
        content = pd.read_csv(path) if path.suffix == ".csv" else json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_REMEDY}") from None
    except ValueError as error:
        raise InputError(f"{path}: not {path.suffix[1:].upper()} ({error}); {_REMEDY}") from error
    if missing := [name for name in needed if name not in content]:
        raise InputError(f"{path}: {missing[0]!r} is missing; {_REMEDY}")
    return content


def provenance(results: Results) -> pd.DataFrame:
    """Which commit (of training too, where it differs) and machine made which runs: commit, machine, runs."""
    lines = []
    for info in results.facts.to_dict("records"):
        commit, trained, machine = info["commit"], info.get("trained_at"), info["machine"]
        parts = [machine["processor"], f"{machine['cores']} cores", f"{machine['memory_gib']} GiB"]
        parts += [machine["accelerator"]] if machine["accelerator"] != "none" else []
        if isinstance(trained, str) and trained != commit:
            commit = f"{commit} (trained at {trained})"
        lines.append({"commit": commit, "machine": ", ".join(parts), "runs": info["run"]})
    return pd.DataFrame(lines).groupby(["commit", "machine"], sort=False)["runs"].agg(", ".join).reset_index()


def parameter_differences(results: Results) -> pd.DataFrame:
    """Parameters that are not the same in all runs: parameter, value, runs.

    A changed weight trains the rows that use it alone: no error, but a reader must see it.
    """
    table = pd.json_normalize(list(results.facts["parameters"])).astype(str)
    table = table.drop(columns=[name for name in table if name in _OF_NO_ROW or name.startswith("rates.")])
    table = table.loc[:, table.nunique() > 1].assign(runs=results.facts["run"])
    long = table.melt("runs", var_name="parameter")
    return long.groupby(["parameter", "value"], sort=False)["runs"].agg(", ".join).reset_index()


def summary(results: Results) -> pd.DataFrame:
    """By row, over seeds: mpjpe_mm, mpvpe_mm (means), mpjpe_sd_mm, mpvpe_sd_mm (NaN for one seed), seeds."""
    by_row = results.metrics.groupby("row", sort=False)[[f"{m}_mm" for m in ERRORS]]
    deviation = by_row.std().rename(columns=lambda name: name.replace("_mm", "_sd_mm"))
    return by_row.mean().join(deviation).assign(seeds=by_row.size())


def dvc_metrics(results: Results) -> dict[str, dict[str, float]]:
    """row -> mpjpe_mm, mpjpe_sd_mm, ..., seeds, for `dvc metrics show`; NaN is left out."""
    lines = summary(results).to_dict("index")
    return {row: {name: v for name, v in line.items() if pd.notna(v)} for row, line in lines.items()}


def table_2(results: Results) -> pd.DataFrame:
    """Every row's error and its difference to the baseline of equal seed, the paper's beside ours.

    A row of the paper that was not run has the paper's columns only; controls come last.

    Returns:
        row, title, then for m in mpjpe, mpvpe: paper_m_mm, paper_m_difference_mm, m_mm (mean over
        seeds), m_sd_mm, m_difference_mm, m_difference_sd_mm; seeds, the number of seeds.
    """
    ours = summary(results)
    rows = [MEAN_HAND, *TABLE_2, *ours.index.difference([MEAN_HAND, *TABLE_2, *FAMILIES], sort=False)]
    table = ours.reindex(rows)
    by_seed = results.metrics.set_index(["row", "seed"])
    columns = ["title"]
    for k, m in enumerate(ERRORS):
        error, paper = f"{m}_mm", f"paper_{m}"
        table[f"{paper}_mm"] = [ROWS[row].paper_mm[k] if row in TABLE_2 else None for row in rows]
        theirs = (table[f"{paper}_mm"].astype(float) - ROWS[BASELINE].paper_mm[k]).round(2)
        table[f"{paper}_difference_mm"] = theirs.drop(BASELINE)
        if BASELINE in ours.index:
            difference = by_seed[error].sub(by_seed.loc[BASELINE, error], level="seed")
            difference = difference.drop([MEAN_HAND, BASELINE], level="row", errors="ignore").groupby("row")
            table[f"{m}_difference_mm"], table[f"{m}_difference_sd_mm"] = difference.mean(), difference.std()
        columns += [f"{paper}_{unit}" for unit in ("mm", "difference_mm")]
        columns += [f"{m}_{unit}" for unit in ("mm", "sd_mm", "difference_mm", "difference_sd_mm")]
    table = table.assign(title=[row_title(row) for row in rows]).reindex(columns=[*columns, "seeds"])
    return table.astype({"seeds": "Int64"}).rename_axis("row").reset_index()


def of_seeds(results: Results, seeds: Iterable[int]) -> Results:
    """The runs of these seeds alone."""
    chosen = lambda table: table[table["seed"].isin(list(seeds))]
    return Results(**{name: chosen(table) for name, table in vars(results).items()})


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with four decimals, whole or not at all."""
    write_file(path, table.to_csv(index=False, float_format="%.4f"))


def mean_sd(mean: float, sd: float, sign: str = "") -> str:
    """A cell of a table, "19.36 ± 0.61"; the mean alone for one seed, nothing for what was not run."""
    if pd.isna(mean):
        return ""
    return f"{mean:{sign}z.2f}" + ("" if pd.isna(sd) else f" ± {sd:.2f}")
