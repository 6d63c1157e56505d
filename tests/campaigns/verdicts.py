"""`python tests/campaigns/verdicts.py [STUDIES]`: how often the rules for verdicts say what is not so.

Simulated studies whose truth is known: no effect, half of the paper's in every row, the paper's. Errors
follow row + seed, with noise. A verdict of a kind is false in a study if one claim of C1 to C3 is given it
wrongly. Writes reports/reliability/verdicts.csv.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from handdgcl.report import claims
from handdgcl.report.differences import compare_rows
from handdgcl.report.results import BASELINE, Results, write_csv
from handdgcl.rows import ROWS, TABLE_2

OUT = Path("reports/reliability/verdicts.csv")
ASKED = ("C1", "C2", "C3")
EFFECTS = {"none": 0, "half the paper's": 0.5, "the paper's": 1}
NOISE = (0.5, 1.0, 2.0)  # standard deviation of a row's mean over seeds, % of the error
SEEDS = (3, 5, 10)
EMPTY = pd.DataFrame(columns=["row", "title", "seed"])
# Verdict -> with which of the paper's effects it is false for a claim; C3's 1.8 % are too small to matter.
FALSE = {
    claims.SUPPORTED: lambda claim, effect: effect == 0,
    claims.CONTRADICTED: lambda claim, effect: True,
    claims.HALF: lambda claim, effect: effect >= 0.5,
    claims.LESS: lambda claim, effect: effect == 1,
    claims.EQUIVALENT: lambda claim, effect: effect > 0 and claim != "C3",
}


def study(random: np.random.Generator, *, effect: float, noise: float, seeds: int) -> pd.Series:
    """The verdicts on one made study, by claim."""
    base = ROWS[BASELINE].paper_mm[0]
    level = {row: 20 * (1 + effect * (ROWS[row].paper_mm[0] / base - 1)) for row in TABLE_2}
    of_seed = random.normal(0, 0.6, seeds)
    lines = [
        (row, seed, 0, level[row] + of_seed[seed] + 0.2 * noise * random.normal())
        for row, seed in product(TABLE_2, range(seeds))
    ]
    samples = pd.DataFrame(lines, columns=["row", "seed", "index", "mpjpe_mm"])
    table = compare_rows(Results(EMPTY, samples, EMPTY, EMPTY, EMPTY, EMPTY))
    return claims.verdicts(table).set_index("claim").loc[list(ASKED), "verdict"]


def main() -> None:
    """Simulate and write."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    lines = []
    for (name, effect), noise, seeds in product(EFFECTS.items(), NOISE, SEEDS):
        random = np.random.default_rng([int(2 * effect), int(10 * noise), seeds])
        made = pd.DataFrame([study(random, effect=effect, noise=noise, seeds=seeds) for _ in range(studies)])
        given = {verdict: made.map(lambda said, v=verdict: v in said.split("; ")) for verdict in FALSE}
        wrong = {
            f"false: {verdict}": given[verdict][[c for c in ASKED if false(c, effect)]].any(axis=1).mean()
            for verdict, false in FALSE.items()
        }
        decided = {f"decided: {claim}": made[claim].ne(claims.UNDECIDED).mean() for claim in ASKED}
        about = {"true effect": name, "noise, %": noise, "seeds": seeds, "studies": studies}
        lines.append(about | wrong | decided)
        print(lines[-1], flush=True)
    write_csv(pd.DataFrame(lines), OUT)


if __name__ == "__main__":
    main()
