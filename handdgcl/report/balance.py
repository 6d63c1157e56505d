"""C8, by rule, from the sweep that leaves out one term of the loss each.

Asked are, of each term, the difference that leaving it out makes in MPJPE and in the error that the term is
there for (`sweeps.TASKS`); p is corrected (Holm) for these questions together, a family of their own, since
they are answered by other runs, on the validation split. The rule:

- contradicted: leaving out some term makes MPJPE smaller, p below 0.05;
- supported: leaving out each term makes its own error larger, p below 0.05, and none of all asked
  differences shows that leaving out helps;
- undecided at this size: neither.
"""

import pandas as pd

from handdgcl.report.cells import digits, signed
from handdgcl.report.claims import CONTRADICTED, SUPPORTED, UNDECIDED
from handdgcl.report.statistics import ALPHA, POWER
from handdgcl.report.sweeps import MAIN, MEASURES, TASKS, TERMS, of_tasks


def of_terms(effects: pd.DataFrame) -> dict | None:
    """Verdict, number, interval, source and reading of C8; None where a term was not left out.

    Args:
        effects: of `sweeps.effects`.
    """
    asked = effects["measure"].eq(MAIN) | of_tasks(effects)
    lines = effects[effects["sweep"].eq(TERMS) & effects["point"].isin(TASKS) & asked]
    own, main = of_tasks(lines), lines["measure"].eq(MAIN)
    if set(lines.loc[own, "point"]) != set(TASKS):
        return None
    certain = lines["p_holm"] < ALPHA
    helps, harms = certain & (lines["difference"] < 0), certain & (lines["difference"] > 0)
    needed = list(lines.loc[own & harms, "point"])
    favour = lines["difference"] / (lines["high"] - lines["low"])  # in interval lengths
    if (main & helps).any():
        verdict, weakest = CONTRADICTED, lines.loc[favour[main & helps].idxmin()]
    else:
        verdict = SUPPORTED if len(needed) == len(TASKS) and not helps.any() else UNDECIDED
        weakest = lines.loc[favour[own].fillna(0).idxmin()]
    measure = MEASURES[weakest["measure"]]
    return {
        "verdict": verdict,
        "number": weakest["difference"],
        "unit": measure.unit,
        "low": weakest["low"],
        "high": weakest["high"],
        "figure": TERMS,
        "source": f"sweeps.csv, from reports/sweeps/results/{TERMS}/samples.csv, {weakest['measure']}",
        "reading": _reading(needed, lines[helps], weakest),
    }


def _reading(needed: list[str], helped: pd.DataFrame, weakest: pd.Series) -> str:
    """One sentence on what leaving out does, on the validation split."""
    worse = "Leaving out a term makes the error it is there for significantly larger for "
    worse += f"{len(needed)} of {len(TASKS)}" + (f" ({', '.join(needed)})" if needed else "")
    smaller = [f"{MEASURES[line.measure].title} without {line.point}" for line in helped.itertuples()]
    none = ", and none of the errors asked about significantly smaller"
    worse += f", and makes significantly smaller: {', '.join(smaller)}" if smaller else none
    unit, title = weakest["unit"], MEASURES[weakest["measure"]].title
    name = title if title.isupper() else title.lower()
    deciding = f"{signed(weakest['difference'], unit)} {unit} in {name} without {weakest['point']}"
    if pd.isna(weakest["detectable"]):
        return f"{worse}; least in its favour, {deciding}, with one seed, which gives no interval."
    return (
        f"{worse}; least in its favour, {deciding}; a true {weakest['detectable']:.{digits(unit)}f} {unit} "
        f"would show, uncorrected, in {100 * POWER:.0f} % of such sweeps. Short runs, validation split."
    )
