"""Every difference between rows that the tables imply, paired by seed and sample, with its statistics."""

import numpy as np
import pandas as pd

from handdgcl.report.claims import DGCLNET, EXPLICIT, MEASURES, Measure, deciding
from handdgcl.report.runs import MEAN_HAND, Run
from handdgcl.report.statistics import detectable, half_width, holm, p_value, seeds_to_show, spread
from handdgcl.report.tables import BASELINE, BEST, METRICS, paper_numbers
from handdgcl.rows import ROWS

# Samples with the same subject share hands, poses and frames; the coarsest division with enough parts is
# the one whose parts may be taken as drawn independently.
CLUSTERS = {
    "subjects": ["subject"],
    "captures": ["capture"],
    "frames": ["capture", "frame"],
    "images": ["index"],
}
LEAST_CLUSTERS = 6
MAIN = "mpjpe"  # the measure whose differences are all corrected together with those that decide claims

Values = dict[tuple[str, int], pd.Series]  # (row, seed) -> one value for each sample


def differences(runs: list[Run]) -> pd.DataFrame:
    """All paired differences of all measures that the runs have: statistics.csv.

    Returns:
        measure, unit, row, minus (the row it is compared with), claim (that it decides, or ""), seeds,
        samples, clusters (what and how many), difference (mean), low and high (95 %), p, p_holm
        (corrected over all in MPJPE and all that decide claims together, else over the rest of the
        measure), effect_size (difference over the standard deviation of a sample's), detectable (see
        `statistics.detectable`), seeds_to_show (see there), least and largest (of the seeds),
        reference (mean of the row compared with), paper_difference and paper_reference. What one seed or
        the paper cannot tell is NaN.
    """
    pairs = compared_pairs(runs)
    lines = []
    for name, measure in MEASURES.items():
        values = measured(runs, name)
        label, cluster = clusters(runs[0].samples) if measure.file == "samples.csv" else ("", None)
        for pair in pairs:
            table = paired(values, *pair)
            if not table.empty:
                known = statistics(table, cluster)
                about = {"measure": name, "unit": measure.unit, "row": pair[0], "minus": pair[1]}
                lines.append(about | {"claim": deciding(name, pair), "clusters": label} | known)
                theirs = [values[pair[1], seed][table.columns].mean() for seed in table.index]
                lines[-1] |= {"reference": float(np.mean(theirs))} | paper_difference(name, *pair)
    table = pd.DataFrame(lines, columns=_COLUMNS)
    family = table["measure"].where(table["claim"].eq(""), MAIN)
    table["p_holm"] = table.groupby(family)["p"].transform(lambda p: holm(p.to_numpy()))
    return table


_COLUMNS = [
    *("measure", "unit", "row", "minus", "claim", "seeds", "samples", "clusters"),
    *("difference", "low", "high", "p", "p_holm", "effect_size", "detectable"),
    *("seeds_to_show", "least", "largest", "reference", "paper_difference", "paper_reference"),
]


def compared_pairs(runs: list[Run]) -> list[tuple[str, str]]:
    """(row, compared with): each row and the baseline, * and DGCLNet, DGCLNet and the best explicit row.

    The best explicit row is the one with the least *validation* error: chosen on the test split it
    would look better there than it is.
    """
    pairs = [(row, BASELINE) for row in ROWS if row != BASELINE] + [(BEST, DGCLNET)]
    error = {}
    for run in runs:
        if run.row in EXPLICIT and run.curves is not None and "val_mpjpe_mm" in run.curves:
            error.setdefault(run.row, []).append(run.curves["val_mpjpe_mm"].min())
    if error:
        pairs.append((DGCLNET, min(error, key=lambda row: np.mean(error[row]))))
    return pairs


def measured(runs: list[Run], name: str) -> Values:
    """One measure of every run that has it, by sample; a curve is one value."""
    measure = MEASURES[name]
    values = {}
    for run in runs:
        table = run.samples if measure.file == "samples.csv" else run.curves
        if run.row != MEAN_HAND and table is not None and measure.column in table:
            values[run.row, run.seed] = _values(table, name, measure)
    return values


def paired(values: Values, row: str, other: str) -> pd.DataFrame:
    """row minus other `[seeds, samples]`, for the seeds that both have and the samples that all have."""
    seeds = [seed for name, seed in values if name == row and (other, seed) in values]
    table = {seed: values[row, seed] - values[other, seed] for seed in seeds}
    return pd.DataFrame(table).T.dropna(axis=1)


def clusters(samples: pd.DataFrame) -> tuple[str, pd.Series]:
    """What samples are clustered by, "10 subjects", and the number of each sample's cluster."""
    images = samples.drop_duplicates("index")
    images = images.set_index(images["index"].rename("sample"))
    known = {name: columns for name, columns in CLUSTERS.items() if set(columns) <= set(images.columns)}
    for name, columns in known.items():
        number = images.groupby(columns, sort=False).ngroup()
        if number.nunique() >= LEAST_CLUSTERS:
            return f"{number.nunique()} {name}", number
    return f"{len(images)} images", number


def statistics(table: pd.DataFrame, cluster: pd.Series | None) -> dict[str, float]:
    """Mean, interval and the rest of one difference `[seeds, samples]`; a curve has no clusters."""
    values = table.to_numpy(dtype=float)
    by_seed = values.mean(1)
    line = {
        "seeds": len(table),
        "samples": table.shape[1],
        "difference": values.mean(),
        "least": by_seed.min(),
        "largest": by_seed.max(),
    }
    if len(table) < 2:
        return line
    number = np.zeros(1, dtype=int) if cluster is None else pd.factorize(cluster.loc[table.columns])[0]
    known = spread(values, number)
    half = half_width(known)
    deviation = np.sqrt(values.var(1, ddof=1).mean()) if values.shape[1] > 1 else by_seed.std(ddof=1)
    return line | {
        "low": known.mean - half,
        "high": known.mean + half,
        "p": float(p_value(known)),
        "effect_size": known.mean / deviation if deviation > 0 else np.nan,
        "detectable": float(detectable(known)),
        "seeds_to_show": float(seeds_to_show(known)),
    }


def paper_difference(name: str, row: str, other: str) -> dict[str, float]:
    """The paper's difference and what it is to, NaN where it gives no number."""
    if name not in METRICS:
        return {"paper_difference": np.nan, "paper_reference": np.nan}
    ours, its = (paper_numbers(r)[f"paper_{name}_mm"] for r in (row, other))
    return {"paper_difference": round(ours - its, 2), "paper_reference": its}


def mean_of(samples: pd.DataFrame, name: str, column: str) -> float:
    """A measure's rule on another column of samples.csv, over all samples: the ground truth's own."""
    return float(_by_sample(samples, name, column).mean())


def _values(table: pd.DataFrame, name: str, measure: Measure) -> pd.Series:
    """The values of one run by the measure's rule."""
    if measure.file == "samples.csv":
        return _by_sample(table, name, measure.column)
    epochs, column = table["epoch"].to_numpy(), table[measure.column]
    area = np.trapezoid(column, epochs) / (epochs[-1] - epochs[0]) if len(epochs) > 1 else column.iloc[0]
    return pd.Series([area])


def _by_sample(samples: pd.DataFrame, name: str, column: str) -> pd.Series:
    """One value for each sample, mean of both hands' lines; 0 or 1 for collisions."""
    values = samples[column]
    if name == "collisions":
        values = (values > 0).astype(float).where(values.notna())
    return values.groupby(samples["index"]).mean()
