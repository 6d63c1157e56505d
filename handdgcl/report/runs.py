"""Reading back what each trained row left, and refusing what does not fit together."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from handdgcl.errors import InputError
from handdgcl.model.metrics import means
from handdgcl.rows import ROWS

MEAN_HAND = "mean"  # the row without a network: the training mean for every image
TOLERANCE = 1e-4  # relative, between metrics.json and the mean of samples.csv: rounding of the CSV, no more
_NAMES = ("profile", "reports", "seeds")
_KEYS = {"row", "seed", "commit", "machine", "parameters", "metrics"}
_REMEDY = "delete its folder and run `dvc repro` again"


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        row: key of `ROWS`, or "mean".
        seed: its seed.
        metrics: name -> mean over the test split, in the unit the name ends in.
        info: the rest of metrics.json: commit, machine, parameters, seconds, ...
        samples: samples.csv, one line per test sample and hand.
        curves: curves.csv, one line per epoch, or None (the mean hand learns nothing).
        joints: joints.json, mean error in mm, joints by hands.
        features: features.csv, its one line (`evaluate.features`); empty for the mean hand, which has none.
    """

    row: str
    seed: int
    metrics: dict[str, float]
    info: dict
    samples: pd.DataFrame
    curves: pd.DataFrame | None
    joints: pd.DataFrame
    features: dict[str, float]


def row_title(row: str) -> str:
    """The name that tables and figures show."""
    return "Mean hand (no image)" if row == MEAN_HAND else ROWS[row].title


def pair_title(row: str, other: str) -> str:
    """The name of a difference: "random mask minus baseline"."""
    return " minus ".join(short_title(name) for name in (row, other))


def short_title(row: str) -> str:
    """The row's name without what all share: "random mask"."""
    return row_title(row).removeprefix("GCN ").removeprefix("+ ")


def read_runs(folder: Path) -> list[Run]:
    """All runs of a profile, the mean hand first, then in the order of Table 2, then by seed.

    Args:
        folder: holds one folder per run, `<row>-<seed>` with metrics.json, samples.csv, ...

    Raises:
        InputError: there is no run; a file is missing or broken; a mean of metrics.json is not the mean
            of samples.csv; two runs were measured on different samples.
    """
    order = [MEAN_HAND, *ROWS]
    runs = [_read_run(path.parent) for path in Path(folder).glob("*/metrics.json")]
    if not runs:
        raise InputError(f"{folder}: no run has left its metrics.json; run `dvc repro` first")
    unknown = sorted({run.row for run in runs} - set(order))
    if unknown:
        raise InputError(f"{folder}: unknown row {unknown[0]!r}; the rows are {', '.join(order)}")
    runs.sort(key=lambda run: (order.index(run.row), run.seed))
    first = runs[0]
    for run in runs[1:]:
        if not _identity(run).equals(_identity(first)):
            names = [f"{r.row}-{r.seed}" for r in (run, first)]
            raise InputError(
                f"{folder}: {names[0]} and {names[1]} were measured on different samples; {_REMEDY}"
            )
    return runs


def provenance(runs: list[Run]) -> pd.DataFrame:
    """Which commit and machine made which runs: columns commit, machine, runs; one line if all agree.

    Where a row was trained at another commit than it was measured at, the commit says both.
    """
    table = pd.DataFrame(
        {
            "commit": [_commit(run.info) for run in runs],
            "machine": [describe(run.info["machine"]) for run in runs],
            "runs": [f"{run.row}-{run.seed}" for run in runs],
        }
    )
    return table.groupby(["commit", "machine"], sort=False)["runs"].agg(", ".join).reset_index()


def _commit(info: dict) -> str:
    """The commit of a run."""
    trained, measured = info.get("trained_at", info["commit"]), info["commit"]
    return measured if trained == measured else f"{measured} (trained at {trained})"


def parameter_differences(runs: list[Run]) -> dict[str, dict[str, list[str]]]:
    """Parameters that are not the same in all runs: name -> value -> runs.

    A changed weight reruns the rows that use it alone, so differences are no error, but a reader must
    see them. What names a profile, its folder and its seeds is left out.
    """
    parameters = [{k: v for k, v in run.info["parameters"].items() if k not in _NAMES} for run in runs]
    table = pd.json_normalize(parameters).astype(str)
    table.index = [f"{run.row}-{run.seed}" for run in runs]
    return {
        name: {value: list(group.index) for value, group in column.groupby(column)}
        for name, column in table.items()
        if column.nunique() > 1
    }


def describe(machine: dict) -> str:
    """One line on what `handdgcl.provenance.machine` found."""
    parts = [machine["processor"], f"{machine['cores']} cores", f"{machine['memory_gib']} GiB"]
    if machine["accelerator"] != "none":
        parts.append(machine["accelerator"])
    return ", ".join(parts)


def _read_run(folder: Path) -> Run:
    """One run's files, checked against each other."""
    info = _read_json(folder / "metrics.json")
    missing = sorted(_KEYS - set(info))
    if missing:
        raise InputError(f"{folder / 'metrics.json'}: {missing[0]!r} is missing; {_REMEDY}")
    samples = _read_csv(folder / "samples.csv")
    absent = sorted({"index", "image_id", "hand", "mpjpe_mm", "mpvpe_mm"} - set(samples.columns))
    if absent:
        raise InputError(f"{folder / 'samples.csv'}: column {absent[0]!r} is missing; {_REMEDY}")
    metrics = info.pop("metrics")
    for name, value in means(samples).items():
        if name not in metrics or not abs(metrics[name] - value) <= TOLERANCE * abs(value):
            raise InputError(
                f"{folder}: {name} is {metrics.get(name)} in metrics.json, "
                f"but the samples in samples.csv average to {value:.4f}; {_REMEDY}"
            )
    curves, features = folder / "curves.csv", folder / "features.csv"
    return Run(
        row=info["row"],
        seed=int(info["seed"]),
        metrics=metrics,
        info=info,
        samples=samples,
        curves=_read_csv(curves) if curves.exists() else None,
        joints=pd.DataFrame(_read_json(folder / "joints.json")),
        features=_read_csv(features).iloc[0].to_dict() if features.exists() else {},
    )


def _identity(run: Run) -> pd.DataFrame:
    """What says which samples were measured."""
    return run.samples[["image_id", "hand"]].astype(str)


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_REMEDY}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); {_REMEDY}") from error


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_REMEDY}") from None
    except ValueError as error:
        raise InputError(f"{path}: not a table ({error}); {_REMEDY}") from error
