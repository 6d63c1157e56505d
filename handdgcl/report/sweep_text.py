"""The sweeps in words: a sentence for each and the rulings that they tried, both made from the numbers.

"Larger" and "smaller" are said where p, corrected over the sweep's differences in MPJPE, is below 0.05.
"""

import pandas as pd

from handdgcl.report.cells import DASH, MINUS, digits, plain_cells, signed
from handdgcl.report.runs import row_title
from handdgcl.report.statistics import ALPHA, POWER
from handdgcl.report.sweeps import MAIN, MEASURES, TERMS, Result, Sweeps
from handdgcl.report.tables import BASELINE

# The rulings of reports/reading.md.
RULINGS = {
    "R1": "a sign",
    "R2": "what is similar to what",
    "R3": "positives and negatives",
    "R4": "SimSiam",
    "R5": "the size of L_cross",
    "R6": "units",
    "R7": "transition",
    "R8": "camera",
    "R9": "the graph",
    "R10": "fairness among disturbances",
    "R11": "fairness with the baseline",
}
MONITOR = "pose_correlation"


def sentences(name: str, result: Result, effects: pd.DataFrame) -> list[str]:
    """What a sweep says of MPJPE: against its base and, where the baseline was run too, against that."""
    lines = effects[effects["sweep"].eq(name) & effects["measure"].eq(MAIN)]
    to_baseline = lines["minus_row"].eq(BASELINE) & lines["row"].ne(BASELINE)
    parts = ((result.sweep.base, lines[~to_baseline]), ("the baseline", lines[to_baseline]))
    return [sentence(against, part) for against, part in parts if not part.empty]


def sentence(against: str, lines: pd.DataFrame) -> str:
    """One sentence on differences in MPJPE to one thing.

    Args:
        against: what was compared with.
        lines: of `sweeps.effects`.
    """
    rows = lines["row"].nunique() > 1
    names = [f"{_short(line.row)} at {line.point}" if rows else line.point for line in lines.itertuples()]
    named = lines.assign(name=names)
    if lines["low"].isna().all():
        return f"Against {against}, with one seed, which gives no interval: {_list(named)}."
    certain = named["p_holm"] < ALPHA
    parts = []
    for word, sign in (("larger", 1), ("smaller", -1)):
        if (chosen := named[certain & (sign * named["difference"] > 0)]).size:
            parts.append(f"{word} for {_list(chosen)}")
    rest = named[~certain]
    if parts and rest.empty:
        return f"Against {against}, MPJPE is {' and '.join(parts)}."
    largest = rest.loc[rest["difference"].abs().idxmax()]
    share = f"{100 * POWER:.0f} % of such sweeps"
    seen = f"there a true {largest['detectable']:.{digits('mm')}f} mm would show, uncorrected, in {share}"
    least = f"the largest is {_list(rest.loc[[largest.name]])}; {seen}"
    if not parts:
        return f"Against {against}, no difference in MPJPE is significant after Holm's correction: {least}."
    said = f"Against {against}, MPJPE is {' and '.join(parts)}."
    others = f"{len(rest)} of {len(named)} differences {'is' if len(rest) == 1 else 'are'} not significant"
    return f"{said} After Holm's correction {others}: {least}."


def rulings(sweeps: Sweeps) -> dict | None:
    """The rulings that sweeps tried, as cells: what was tried instead and what happened; None without any."""
    lines = []
    for name, result in sweeps.results.items():
        found = sweeps.effects[sweeps.effects["sweep"].eq(name) & sweeps.effects["measure"].eq(MAIN)]
        found = found[found["minus_point"].eq(result.sweep.base)].set_index("point")
        for ruling, points in result.sweep.rulings.items():
            lines += [_ruling(ruling, result, found.loc[point]) for point in points if point in found.index]
    lines.sort(key=lambda line: list(RULINGS).index(line["Ruling"].split(",")[0]))
    return {**plain_cells(pd.DataFrame(lines)), "text": (0, 1, 5)} if lines else None


def untried(sweeps: Sweeps) -> list[str]:
    """The rulings that no sweep tried."""
    tried = {ruling for result in sweeps.results.values() for ruling in result.sweep.rulings}
    return [f"{name} ({title})" for name, title in RULINGS.items() if name not in tried]


def effects_cells(effects: pd.DataFrame) -> dict:
    """All differences in MPJPE, and of left-out terms in all errors, as cells."""
    shown = effects[effects["measure"].eq(MAIN) | effects["sweep"].eq(TERMS)]
    columns = [
        "Sweep",
        "Row",
        "Point",
        "Minus",
        "Error",
        "Difference",
        "95 % interval",
        "p, Holm",
        "Detectable",
    ]
    lines = []
    for line in shown.itertuples():
        minus = line.minus_point if line.row == line.minus_row else row_title(line.minus_row)
        unit = line.unit
        cells = [
            line.sweep,
            row_title(line.row),
            line.point,
            minus,
            f"{MEASURES[line.measure].title}, {unit}",
        ]
        cells += [signed(line.difference, unit), _interval(line), DASH, DASH]
        if pd.notna(line.p_holm):
            cells[-2:] = [f"{line.p_holm:.3f}", f"{line.detectable:.{digits(unit)}f}"]
        source = f"sweeps.csv, from reports/sweeps/results/{line.sweep}/samples.csv, {line.measure}"
        lines.append({"cells": cells, "strong": False, "source": source})
    return {"columns": columns, "groups": None, "text": (1, 2, 3, 4), "lines": lines}


def _ruling(ruling: str, result: Result, line: pd.Series) -> dict:
    """One line of the rulings' table."""
    reading = "no difference shown"
    if line["p_holm"] < ALPHA:
        reading = "our ruling is better" if line["difference"] > 0 else "what was tried is better"
    at = result.runs[result.runs["row"].eq(line["row"])].groupby("point")
    correlation = at[MONITOR].mean() if MONITOR in result.runs else pd.Series(dtype=float)
    both = (correlation.get(result.sweep.base), correlation.get(line.name))
    known = all(pd.notna(value) for value in both)
    return {
        "Ruling": f"{ruling}, {RULINGS[ruling]}",
        "Tried": f"{result.sweep.title}: {line.name} instead of {result.sweep.base}",
        "MPJPE, mm": signed(line["difference"], "mm"),
        "95 % interval": _interval(line),
        "Correlation of S_p and S_g": " → ".join(f"{v:.3f}".replace("-", MINUS) for v in both)
        if known
        else DASH,
        "Reading": reading,
    }


def _short(row: str) -> str:
    """A row's name within a sentence."""
    return row_title(row).removeprefix("GCN + ").removeprefix("GCN ")


def _list(lines: pd.DataFrame) -> str:
    """ "0.2 (+0.31 mm, +0.10 … +0.52), …": differences with their intervals."""
    return ", ".join(
        f"{line.name} ({signed(line.difference, 'mm')} mm"
        + ("" if pd.isna(line.low) else f", {_interval(line)}")
        + ")"
        for line in lines.itertuples(index=False)
    )


def _interval(line: object) -> str:
    """Both ends, or a dash."""
    if pd.isna(line.low):
        return DASH
    return f"{signed(line.low, line.unit)} … {signed(line.high, line.unit)}"
