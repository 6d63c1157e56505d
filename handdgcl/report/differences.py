"""Paired differences between rows, with their intervals.

Rows are compared on the same samples and seeds. Each measure's mean by row and seed follows row + seed
(ordinary least squares), so one pooled variance serves all differences; a plain paired t interval stands
beside. Both say how far other seeds would move a difference on these test samples, not how far other subjects
would.
"""

from collections import namedtuple
from functools import partial

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import stats
from scipy.special import nctdtrinc
from statsmodels.regression.linear_model import RegressionResults

from handdgcl.model.disturb import Generated
from handdgcl.report.results import BASELINE, BEST, DGCLNET, ERRORS, Results
from handdgcl.rows import ROWS, TABLE_2

ALPHA, POWER = 0.05, 0.8
COLLISION_MM = 2  # hands that touch go a little deeper than 0 in each other
# unit "": a share; column of samples.csv or curves.csv; least: the smallest effect of interest, of the
# reference or, where it is not relative, in the measure's unit.
Measure = namedtuple("Measure", "title unit column least relative", defaults=(0.02, True))
MEASURES = {
    "mpjpe": Measure("MPJPE", "mm", "mpjpe_mm"),
    "mpvpe": Measure("MPVPE", "mm", "mpvpe_mm"),
    # The area under the curve over its length.
    "curve": Measure("Validation MPJPE", "mm", "val_mpjpe_mm", 0.05),
    "curve_time": Measure("The same, equal time", "mm", "val_mpjpe_mm", 0.05),
    "collisions": Measure(f"Pairs colliding > {COLLISION_MM} mm", "", "penetration_depth_mm", 0.1),
    "depth": Measure("Penetration depth", "mm", "penetration_depth_mm", 0.1),
    "volume": Measure("Penetration volume", "cm³", "penetration_volume_cm3", 0.1),
    "mask_iou": Measure("Mask IoU", "", "mask_iou", 0.02, False),
}
EXPLICIT = tuple(row for row in TABLE_2 if ROWS[row].disturbance not in (None, Generated))
_COLUMNS = [
    *("measure", "unit", "row", "minus", "seeds", "samples", "difference", "low", "high", "p", "se"),
    *("freedom", "paired_low", "paired_high", "detectable", "least", "largest", "reference"),
    *("of_interest", "paper_difference", "paper_reference"),
]


def compare_rows(results: Results, pairs: list[tuple[str, str]] | None = None) -> pd.DataFrame:
    """Paired differences in every measure that the runs have.

    Args:
        results, pairs: what is compared, (row, compared with); default: `paper_pairs`.

    Returns:
        measure, unit, row, minus (the row compared with), seeds, samples, difference, all of `pooled`,
        paired_low and paired_high, detectable, least and largest (`interval`), reference (mean of the row
        compared with), of_interest (the smallest effect of interest, in the unit), paper_difference,
        paper_reference. What one seed or the paper cannot tell is NaN.
    """
    lines, pairs = [], pairs or paper_pairs(results)
    known = set(TABLE_2) | {row for compared in pairs for row in compared}
    for name, measure in MEASURES.items():
        values = _values(results, name)
        values = values[values.index.isin(known, level="row")].dropna(how="all").dropna(axis=1)
        if values.empty:
            continue
        means = values.mean(axis=1).unstack("seed").dropna(axis=1)  # [rows, seeds] of whole seeds
        fit = model(means)
        for row, other in pairs:
            if not {row, other} <= set(means.index) or means.empty:
                continue
            line = {"measure": name, "unit": measure.unit, "row": row, "minus": other}
            line |= {"samples": values.shape[1], "reference": means.loc[other].mean()}
            alone = interval((means.loc[row] - means.loc[other]).to_numpy())
            line |= alone | {f"paired_{end}": alone[end] for end in ("low", "high")} | pooled(fit, row, other)
            line["of_interest"] = measure.least * (line["reference"] if measure.relative else 1)
            lines.append(line | _paper(name, row, other))
    return pd.DataFrame(lines, columns=_COLUMNS)


def paper_pairs(results: Results) -> list[tuple[str, str]]:
    """Each row of Table 2 and the baseline, * and DGCLNet, DGCLNet and the best explicit row in validation.

    Chosen on the test split, the best row would look better there than it is.
    """
    pairs = [*((row, BASELINE) for row in TABLE_2 if row != BASELINE), (BEST, DGCLNET)]
    curves = results.curves[results.curves["row"].isin(EXPLICIT)]
    if len(curves) and "val_mpjpe_mm" in curves:
        error = curves.groupby(["row", "seed"])["val_mpjpe_mm"].min().groupby("row").mean()
        pairs.append((DGCLNET, error.idxmin()))
    return pairs


def model(means: pd.DataFrame) -> RegressionResults | None:
    """Row + seed, fitted to a measure `[rows, seeds]`; None where the scatter of seeds is not known."""
    if min(means.shape) < 2:
        return None
    table = means.rename_axis("row").melt(ignore_index=False, var_name="seed", value_name="y").reset_index()
    fit = smf.ols("y ~ 0 + C(row) + C(seed)", table).fit()
    return fit if fit.mse_resid > 1e-18 * np.square(means.to_numpy()).mean() else None


def pooled(fit: RegressionResults | None, row: str, other: str) -> dict[str, float]:
    """low, high (95 %) and p of a difference by the pooled variance; se, and freedom in degrees."""
    if fit is None:
        return dict.fromkeys(("low", "high", "p", "se", "freedom"), np.nan)
    test = fit.t_test(f"C(row)[{row}] - C(row)[{other}] = 0")
    (low, high), p, se = test.conf_int(ALPHA)[0], test.pvalue.item(), test.sd.item()
    return {"low": low, "high": high, "p": p, "se": se, "freedom": fit.df_resid}


def interval(by_seed: np.ndarray) -> dict[str, float]:
    """A difference over seeds, from each seed's own `[S]`, with Student's paired interval.

    Returns:
        seeds, difference, least and largest (of the seeds), low and high (95 %), p, detectable (the true
        difference that the interval would keep off 0 in about 80 % of such studies). These four are NaN for
        one seed, and where all seeds say the same, which does not tell how others would differ.
    """
    freedom, mean = len(by_seed) - 1, float(np.mean(by_seed))
    found = {"seeds": len(by_seed), "difference": mean, "least": min(by_seed), "largest": max(by_seed)}
    if freedom < 1 or np.allclose(by_seed, mean, rtol=1e-9, atol=1e-12):
        return found | dict.fromkeys(("low", "high", "p", "detectable"), np.nan)
    test = stats.ttest_1samp(by_seed, 0)
    low, high = test.confidence_interval(1 - ALPHA)
    error = stats.sem(by_seed) * freedom**0.5 / stats.chi.mean(freedom)  # without the bias of few seeds
    noncentrality = nctdtrinc(freedom, 1 - POWER, stats.t.ppf(1 - ALPHA / 2, freedom))
    return found | {"low": low, "high": high, "p": test.pvalue, "detectable": noncentrality * error}


def _values(results: Results, name: str) -> pd.DataFrame:
    """One measure, `[(row, seed), samples]`, mean of both hands; of a curve one column."""
    column, samples, curves = MEASURES[name].column, results.samples, results.curves
    if name.startswith("curve"):
        runs = curves.dropna(subset=column).groupby(["row", "seed"]) if column in curves else ()
        area = partial(_over_time, results.facts) if name == "curve_time" else _over_epochs
        areas = [(*run, area(curve)) for run, curve in runs]
        return pd.DataFrame(areas, columns=["row", "seed", 0]).set_index(["row", "seed"])
    if column not in samples:
        samples = samples[:0].assign(**{column: []})
    values = samples[column]
    if name == "collisions":
        values = (values > COLLISION_MM).astype(float).where(values.notna())
    return values.groupby([samples["row"], samples["seed"], samples["index"]]).mean().unstack("index")


def _over_epochs(curve: pd.DataFrame) -> float:
    """Mean validation error: the area under a curve over its length."""
    error, epoch = curve["val_mpjpe_mm"], curve["epoch"]
    return np.trapezoid(error, epoch) / np.ptp(epoch) if len(curve) > 1 else error.item()


def _over_time(facts: pd.DataFrame, curve: pd.DataFrame) -> float:
    """The same from the baseline's second epoch to its end, in seconds; NaN where they are not known."""
    (row,), (seed,) = curve["row"].unique(), curve["seed"].unique()
    seconds = facts[facts["seed"] == seed].set_index("row").get("seconds", pd.Series())
    if not {row, BASELINE} <= set(seconds.dropna().index) or len(curve) < 2:
        return np.nan
    times = np.linspace(2 * seconds[BASELINE] / len(curve), seconds[BASELINE], 200)
    return np.interp(times, curve["epoch"] * seconds[row] / len(curve), curve["val_mpjpe_mm"]).mean()


def _paper(name: str, row: str, other: str) -> dict[str, float]:
    """The paper's difference and what it is to; nothing where it gives no number."""
    theirs = ROWS[row].paper_mm, ROWS[other].paper_mm
    if name not in ERRORS or None in theirs:
        return {}
    ours, its = (numbers[ERRORS.index(name)] for numbers in theirs)
    return {"paper_difference": round(ours - its, 2), "paper_reference": its}
