"""Paired differences between rows with their intervals, and the paper's claims, judged by rule.

The interval of a difference is Student's over the seeds' means: it says how far other seeds would move it on
these test samples, not how far other subjects would. p is corrected for all questions asked together.
"""

from collections import namedtuple
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from scipy import stats
from scipy.special import nctdtrinc

from handdgcl.model.disturb import Generated
from handdgcl.report.results import BASELINE, BEST, DGCLNET, ERRORS, Results
from handdgcl.rows import ROWS, TABLE_2

ALPHA, POWER = 0.05, 0.8
SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNDECIDED, UNMEASURED = "undecided at this size", "not measured"
Measure = namedtuple("Measure", "title unit column")  # unit "": a share; of samples.csv or curves.csv
MEASURES = {
    "mpjpe": Measure("MPJPE", "mm", "mpjpe_mm"),
    "mpvpe": Measure("MPVPE", "mm", "mpvpe_mm"),
    "curve": Measure("Mean validation MPJPE", "mm", "val_mpjpe_mm"),  # area under the curve over its length
    "collisions": Measure("Share of pairs that collide", "", "penetration_depth_mm"),
    "depth": Measure("Penetration depth", "mm", "penetration_depth_mm"),
    "volume": Measure("Penetration volume", "cm³", "penetration_volume_cm3"),
    "mask_iou": Measure("Mask IoU", "", "mask_iou"),
}
EXPLICIT = tuple(row for row in TABLE_2 if ROWS[row].disturbance not in (None, Generated))
OF_EXPLICIT = tuple((row, BASELINE) for row in EXPLICIT)
OF_DGCLNET = ((DGCLNET, BASELINE), (BEST, BASELINE))
# The differences (row, compared with) that decide a claim have this sign in these measures, were it true.
Claim = namedtuple("Claim", "statement sign measures pairs", defaults=(0, (), ()))
CLAIMS = {
    "C1": Claim("Every explicit disturbance makes the baseline worse.", 1, ("mpjpe",), OF_EXPLICIT),
    "C2": Claim("DGCLNet, without and with *, makes the baseline better.", -1, ("mpjpe",), OF_DGCLNET),
    "C3": Claim("Similarity distinguish (*) improves DGCLNet.", -1, ("mpjpe",), ((BEST, DGCLNET),)),
    "C4": Claim("DGCLNet converges faster and more steadily.", -1, ("curve",), OF_DGCLNET),
    "C5": Claim("DGCLNet's hands collide less often and less deep.", -1, ("collisions", "depth"), OF_DGCLNET),
    "C6": Claim("DGCLNet's hands overlap better with the image's.", 1, ("mask_iou",), OF_DGCLNET),
    "C7": Claim("DGCLNet costs nothing at inference."),  # counted: `judge_cost`
    "C8": Claim(
        "The loss of many terms balances its tasks."
    ),  # asked by sweeps on validation images (notebook 08), so no verdict here
}
_COLUMNS = [
    *("measure", "unit", "row", "minus", "claim", "seeds", "samples", "difference", "low", "high"),
    *("p", "p_holm", "detectable", "least", "largest", "reference", "paper_difference", "paper_reference"),
]


def differences(results: Results, pairs: list[tuple[str, str]] | None = None) -> pd.DataFrame:
    """Paired differences in every measure that the runs have.

    Args:
        results, pairs: what is compared, (row, compared with); default: `paper_pairs`.

    Returns:
        measure, unit, row, minus (the row compared with), claim (that it decides, or ""), samples, all of
        `interval`, p_holm (over all in MPJPE and all that decide a claim together, else over the rest of the
        measure), reference (mean of the row compared with), paper_difference, paper_reference. What one seed
        or the paper cannot tell is NaN.
    """
    lines, pairs = [], pairs or paper_pairs(results)
    for name, measure in MEASURES.items():
        values = _values(results, name)
        for row, other in pairs:
            if not {row, other} <= set(values.index.unique("row")):
                continue
            both = (values.loc[row] - values.loc[other]).dropna(how="all").dropna(axis=1)
            if both.empty:
                continue
            deciding = (
                c for c, claim in CLAIMS.items() if name in claim.measures and (row, other) in claim.pairs
            )
            line = {"measure": name, "unit": measure.unit, "row": row, "minus": other}
            line |= {"claim": next(deciding, ""), "samples": both.shape[1]}
            line["reference"] = values.loc[other].loc[both.index, both.columns].to_numpy().mean()
            lines.append(line | interval(both.mean(axis=1).to_numpy()) | _paper(name, row, other))
    table = pd.DataFrame(lines, columns=_COLUMNS)
    family = table["measure"].where(table["claim"].eq(""), "mpjpe")
    table["p_holm"] = table.groupby(family)["p"].transform(holm)
    return table


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


def interval(by_seed: np.ndarray) -> dict[str, float]:
    """A difference over seeds, from each seed's own `[S]`, with Student's interval.

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


def holm(p: pd.Series) -> pd.Series:
    """p corrected for all questions asked at once (Holm, 1979); NaN is not a question."""
    ordered = p.dropna().sort_values()
    corrected = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1)
    return corrected.reindex(p.index)


def _values(results: Results, name: str) -> pd.DataFrame:
    """One measure, `[(row, seed), samples]`, mean of both hands; of a curve one column."""
    column, samples, curves = MEASURES[name].column, results.samples, results.curves
    if name == "curve":
        runs = curves.dropna(subset=column).groupby(["row", "seed"]) if column in curves else ()
        areas = [(*run, _mean_over_epochs(curve[column], curve["epoch"])) for run, curve in runs]
        return pd.DataFrame(areas, columns=["row", "seed", 0]).set_index(["row", "seed"])
    if column not in samples:
        samples = samples[:0].assign(**{column: []})
    values = samples[column]
    if name == "collisions":
        values = (values > 0).astype(float).where(values.notna())
    return values.groupby([samples["row"], samples["seed"], samples["index"]]).mean().unstack("index")


def _mean_over_epochs(values: pd.Series, epoch: pd.Series) -> float:
    """The area under a curve over its length."""
    return np.trapezoid(values, epoch) / np.ptp(epoch) if len(values) > 1 else values.item()


def _paper(name: str, row: str, other: str) -> dict[str, float]:
    """The paper's difference and what it is to; nothing where it gives no number."""
    theirs = ROWS[row].paper_mm, ROWS[other].paper_mm
    if name not in ERRORS or None in theirs:
        return {}
    ours, its = (numbers[ERRORS.index(name)] for numbers in theirs)
    return {"paper_difference": round(ours - its, 2), "paper_reference": its}


def verdicts(table: pd.DataFrame, *, cost: pd.DataFrame | None = None) -> pd.DataFrame:
    """The claims, answered by rule.

    Supported: every difference that the claim is about has the paper's sign and a corrected p below 0.05;
    contradicted: one has the other sign and such a p; undecided at this size: neither.

    Args:
        table: of `differences`.
        cost: for `judge_cost`; None: not measured.

    Returns:
        claim, statement, verdict; measure to high of the difference least in the paper's favour.
    """
    lines = []
    for name, claim in CLAIMS.items():
        asked = table[table["claim"] == name]
        answer = {"verdict": UNMEASURED}
        if name == "C7" and cost is not None:
            answer = judge_cost(cost)
        elif len(asked) and len(asked) == len(claim.measures) * len(claim.pairs):
            certain, agrees = asked["p_holm"] < ALPHA, asked["difference"] * claim.sign > 0
            against = CONTRADICTED if (certain & ~agrees).any() else UNDECIDED
            answer = {"verdict": SUPPORTED if (certain & agrees).all() else against}
            answer |= _weakest(asked, claim.sign)
        lines.append({"claim": name, "statement": claim.statement} | answer)
    columns = [
        "claim",
        "statement",
        "verdict",
        "measure",
        "row",
        "minus",
        "difference",
        "unit",
        "low",
        "high",
    ]
    return pd.DataFrame(lines, columns=columns)


def judge_cost(cost: pd.DataFrame) -> dict:
    """C7, of columns row, weights, mflop: supported if inference takes as many of each as the baseline's."""
    counts = cost.set_index("row")[["weights", "mflop"]]
    if not {BASELINE, DGCLNET, BEST} <= set(counts.index):
        return {"verdict": UNMEASURED}
    more = counts - counts.loc[BASELINE]
    verdict = SUPPORTED if more.eq(0).all(axis=None) else CONTRADICTED
    return {"verdict": verdict, "difference": int(more["weights"].max()), "unit": "weights"}


def _weakest(asked: pd.DataFrame, sign: int) -> dict:
    """The difference least in the paper's favour, in lengths of its interval."""
    favour = sign * asked["difference"] / (asked["high"] - asked["low"])
    line = asked.loc[favour.idxmin()] if favour.notna().any() else asked.iloc[0]
    return line[["measure", "row", "minus", "difference", "unit", "low", "high"]].to_dict()


def conclusion(text: str, *, holds: bool) -> None:
    """Show a sentence (Markdown) that somebody wrote, or that this run's numbers do not support it."""
    if holds:
        display(Markdown(text))
        return
    style = "border-left: .4rem solid #d55e00; background: #fdf3ec; padding: .6rem"
    about = "<strong>This run does not support the conclusion that was written here:</strong>"
    display(HTML(f'<div class="warning" style="{style}">{about} {escape(text.replace("**", ""))}</div>'))
