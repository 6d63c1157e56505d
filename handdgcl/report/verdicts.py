"""A verdict on each claim, by rule, with the number that decides it and a sentence made from the numbers.

The rules, for the differences that a claim is about (`claims.CLAIMS`):

- supported: every one has the paper's sign and a p, corrected for all questions of the page, below 0.05;
- contradicted: one of them has the other sign and a corrected p below 0.05;
- undecided at this size: neither;
- not measured: what the claim is about was not run or not measured.

C7 is counted, not tested: supported if the exported network has exactly as many weights and operations in
every row. C8 is answered by the sweep that leaves out one term each, by the rule of `balance`.
"""

import pandas as pd

from handdgcl.report.balance import of_terms
from handdgcl.report.cells import MINUS, digits, signed
from handdgcl.report.claims import (
    CLAIMS,
    CONTRADICTED,
    MEASURES,
    SUPPORTED,
    UNDECIDED,
    UNMEASURED,
    WITH_DGCLNET,
    Claim,
)
from handdgcl.report.differences import mean_of
from handdgcl.report.runs import Run, pair_title, row_title, short_title
from handdgcl.report.statistics import ALPHA, MOST_SEEDS, POWER
from handdgcl.report.sweeps import Sweeps
from handdgcl.report.tables import BASELINE

LEAST = 0.005  # mm; what two decimals show as 0
COLUMNS = ["claim", "statement", "verdict", "number", "unit", "low", "high", "figure", "source", "reading"]


def verdicts(
    runs: list[Run],
    table: pd.DataFrame,
    cost: pd.DataFrame | None = None,
    sweeps: Sweeps | None = None,
) -> pd.DataFrame:
    """The claims, answered: claims.csv.

    Args:
        runs: of `read_runs`.
        table: of `differences.differences`.
        cost: of `cost.inference_cost`, or None where no checkpoint was at hand.
        sweeps: of `sweeps.read_sweeps`, or None where none was run.

    Returns:
        claim, statement, verdict, number (of the difference least in the paper's favour) with unit, low
        and high (95 %), figure (key on the page), source (file and column), reading.
    """
    lines = []
    for name, claim in CLAIMS.items():
        about = {"claim": name, "statement": claim.statement}
        if name == "C7" and cost is not None:
            answer = of_cost(cost)
        elif name == "C8" and sweeps is not None and (found := of_terms(sweeps.effects)):
            answer = found
        else:
            answer = of_differences(claim, table[table["claim"] == name])
        if name == "C4" and answer["verdict"] != UNMEASURED:
            answer["reading"] += rises(runs)
        if name == "C5" and answer["verdict"] != UNMEASURED:
            answer["reading"] += truth(runs)
        lines.append(about | answer)
    return pd.DataFrame(lines, columns=COLUMNS)


def of_differences(claim: Claim, lines: pd.DataFrame) -> dict:
    """Verdict, number, interval, source and reading of a claim from its lines of statistics.csv."""
    if len(lines) < len(claim.measures) * len(claim.pairs) or lines.empty:
        return {"verdict": UNMEASURED, "reading": f"Not measured: {claim.unmeasured}."}
    agrees = lines["difference"] * claim.sign > 0
    certain = lines["p_holm"] < ALPHA
    verdict = UNDECIDED
    if (agrees & certain).all():
        verdict = SUPPORTED
    elif (~agrees & certain).any():
        verdict = CONTRADICTED
    favour = claim.sign * lines["difference"] / (lines["high"] - lines["low"])  # in interval lengths
    weakest = lines.loc[favour.idxmin()] if favour.notna().any() else lines.iloc[0]
    measure = MEASURES[weakest["measure"]]
    confirmed, refuted = int((agrees & certain).sum()), int((~agrees & certain).sum())
    return {
        "verdict": verdict,
        "number": weakest["difference"],
        "unit": measure.unit,
        "low": weakest["low"],
        "high": weakest["high"],
        "figure": claim.figure,
        "source": f"statistics.csv, from rows/*/{measure.file}, {measure.column} ({measure.rule})",
        "reading": _reading(weakest, len(lines), confirmed, refuted),
    }


def of_cost(cost: pd.DataFrame) -> dict:
    """The same for C7: whether every row has the baseline's count of weights and operations."""
    rows = cost.set_index("row")
    if not {BASELINE, *(row for row, _ in WITH_DGCLNET)} <= set(rows.index):
        return {"verdict": UNMEASURED, "reading": "Not measured: a row that it is about was not run."}
    base, dropped = int(rows.loc[BASELINE, "weights"]), int(rows["training_only_weights"].max())
    more = int(rows["weights"].max()) - base
    same = (rows[["weights", "mflop"]] == rows.loc[BASELINE, ["weights", "mflop"]]).all(axis=None)
    operations, times = rows["mflop"], rows["milliseconds"]
    return {
        "verdict": SUPPORTED if same else CONTRADICTED,
        "number": more,
        "unit": "weights",
        "figure": "",
        "source": "inference.csv, from runs/*/rows/*/checkpoint.ckpt, weights",
        "reading": f"The exported network has {base:,} weights and takes {operations[BASELINE]:,.1f} "
        f"million operations an image in the baseline, at most {more:,} and "
        f"{operations.max() - operations[BASELINE]:,.1f} million more in another row; up to {dropped:,} "
        f"weights that only training uses are left behind. One image takes {times.min():.2f} to "
        f"{times.max():.2f} ms of processor time, by row"
        + (": the same work each time, so that is how far the clock can be trusted." if same else "."),
    }


def rises(runs: list[Run]) -> str:
    """How steadily the validation error fell: the sum of its rises between epochs, by row."""
    sums = {}
    for run in runs:
        if run.curves is not None and "val_mpjpe_mm" in run.curves:
            sums.setdefault(run.row, []).append(run.curves["val_mpjpe_mm"].diff().clip(lower=0).sum())
    rows = [BASELINE, *(row for row, _ in WITH_DGCLNET)]
    means = {row: sum(sums[row]) / len(sums[row]) for row in rows if row in sums}
    said = ", ".join(f"{mean:.2f} mm in {row_title(row)}" for row, mean in means.items())
    never = bool(means) and max(means.values()) < LEAST
    said += ": it hardly ever rises, so these runs cannot tell steadiness" if never else ""
    return f" Its rises from one epoch to the next sum to {said}."


def truth(runs: list[Run]) -> str:
    """The baseline's collisions beside the ground truth's own, which a prediction need not undercut."""
    if "true_penetration_depth_mm" not in runs[0].samples:
        return ""
    found = {
        "true hands": ([runs[0]], "true_penetration_depth_mm"),
        "baseline": ([run for run in runs if run.row == BASELINE], "penetration_depth_mm"),
    }
    said = []
    for name, (shown, column) in found.items():
        share, depth = (
            sum(mean_of(run.samples, measure, column) for run in shown) / len(shown)
            for measure in ("collisions", "depth")
        )
        said.append(f"in the {name} {share:.1%} of pairs collide, {depth:.2f} mm deep on average over all")
    return f" For scale, {'; '.join(said)}: fewer is better only as far as the truth."


def _reading(line: pd.Series, count: int, confirmed: int, refuted: int) -> str:
    """One sentence on the deciding difference."""
    measure = MEASURES[line["measure"]]
    unit = f" {measure.unit}" if measure.unit else ""
    name = measure.title if measure.title.isupper() else measure.title[0].lower() + measure.title[1:]
    number = signed(line["difference"], measure.unit) + unit
    about = f"{pair_title(line['row'], line['minus'])}: {number}"
    start = ""
    if count > 1:
        start = f"{confirmed} of {count} differences confirm it, {refuted} refute it; least in its favour, "
    if pd.isna(line["low"]):
        return f"{start}{about} in {name}, with one seed, which gives no interval."
    zero = "holds" if line["low"] <= 0 <= line["high"] else "leaves out"
    return (
        f"{start}{about} in {name}, its interval {zero} 0 (corrected p {_p(line['p_holm'])}); "
        f"a true {line['detectable']:.{digits(measure.unit)}f}{unit} would show, uncorrected, in "
        f"{100 * POWER:.0f} % of such studies. {_size(line)}{_shares(line)}"
    )


def _shares(line: pd.Series) -> str:
    """The same as shares of the error that it is a difference to, which compare across data sets."""
    if pd.isna(line["paper_difference"]):
        return ""
    ours = [100 * line[key] / line["reference"] for key in ("difference", "low", "high")]
    percent = [f"{value:+.1f}".replace("-", MINUS) for value in ours]
    paper = f"{100 * line['paper_difference'] / line['paper_reference']:+.1f}".replace("-", MINUS)
    of = f" Of the error of {short_title(line['minus'])} it is {percent[0]} %"
    return f"{of} ({percent[1]} to {percent[2]}), in the paper {paper} %."


def _size(line: pd.Series) -> str:
    """What size of study would tell."""
    if line["p_holm"] < ALPHA:
        return ""
    if pd.isna(line["seeds_to_show"]):
        return f"Were it as large as it looks, not even {MOST_SEEDS} seeds would show it on these samples."
    return f"Were it as large as it looks, {line['seeds_to_show']:.0f} seeds would show it, uncorrected."


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
