"""The paper's claims, judged by the rules of reports/plan.md.

A claim is about some differences, each of which has a sign, were the claim true. Every question of the rules
is one p value of a claim; Holm's correction takes the claims together, question by question.
"""

from collections import namedtuple
from html import escape
from math import ceil

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from scipy import stats
from statsmodels.stats.multitest import multipletests

from handdgcl.report.differences import ALPHA, EXPLICIT, POWER
from handdgcl.report.results import BASELINE, BEST, DGCLNET, row_title
from handdgcl.report.table1 import RIVALS

SUPPORTED, CONTRADICTED = "supported", "contradicted"
HALF, LESS = "less than half the paper's effect", "less than the paper's effect"
EQUIVALENT = "no effect that matters"
UNDECIDED, UNTESTED, UNMEASURED = "undecided", "not tested", "not measured"

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
    # Asked by sweeps on validation images (notebook 08), so no verdict here.
    "C8": Claim("The loss of many terms balances its tasks."),
    "C9": Claim(
        "HandDGCL (*) is better than the other methods of Table 1, here than the families that were trained.",
        *(-1, ("mpjpe",), tuple((BEST, row) for row in RIVALS)),
    ),
}
_COLUMNS = [
    *("claim", "statement", "verdict", "measure", "row", "minus", "difference", "unit", "low", "high"),
    *("seeds_needed", "p_supported", "p_contradicted", "p_half", "p_less", "p_equivalent"),
]


def verdicts(
    table: pd.DataFrame, *, cost: pd.DataFrame | None = None, inert: set[str] = frozenset()
) -> pd.DataFrame:
    """The claims, answered by rule.

    Args:
        table: of `compare_rows`.
        cost: for `judge_cost`; None: not measured.
        inert: rows whose mechanism was not alive; a claim about one of them is not tested.

    Returns:
        claim, statement, verdict; measure to high of the difference least in the paper's favour;
        seeds_needed, of an undecided claim, to show with 80 % power that an effect of 0 does not matter;
        p_<question>, corrected but for C9's.
    """
    asked = {name: _asked(table, claim, part=name == "C9") for name, claim in CLAIMS.items()}
    p = pd.DataFrame(
        {name: questions(lines, CLAIMS[name].sign) for name, lines in asked.items() if len(lines)}
    ).T
    if len(p):
        of_paper = p.index != "C9"  # asked of other rows, so apart, and of the sign alone
        p[of_paper] = p[of_paper].apply(holm)
        p.loc[~of_paper, ["half", "less", "equivalent"]] = np.nan
        # One family that is better contradicts, whatever the others are; to support, all must have been run.
        unknown = len(CLAIMS["C9"].pairs) / max(1, len(asked["C9"]))
        p.loc[~of_paper, SUPPORTED] *= 1 if unknown == 1 else np.nan
        p.loc[~of_paper, CONTRADICTED] = (unknown * p.loc[~of_paper, CONTRADICTED]).clip(upper=1)
    answers = []
    for name, claim in CLAIMS.items():
        answer = {"claim": name, "statement": claim.statement, "verdict": UNMEASURED}
        if name == "C7" and cost is not None:
            answer |= judge_cost(cost)
        elif len(asked[name]):
            answer |= {"verdict": _verdict(p.loc[name])} | _weakest(asked[name], claim.sign)
            answer |= p.loc[name].add_prefix("p_").to_dict()
            if answer["verdict"] == UNDECIDED and name != "C9":
                answer["seeds_needed"] = seeds_needed(asked[name])
            if dead := dict.fromkeys(row for pair in claim.pairs for row in pair if row in inert):
                names = ", ".join(map(row_title, dead)).replace("GCN + ", "")
                answer |= {"verdict": f"{UNTESTED}: {names} not alive in every seed", "seeds_needed": np.nan}
        answers.append(answer)
    return pd.DataFrame(answers, columns=_COLUMNS)


def questions(asked: pd.DataFrame, sign: int) -> dict[str, float]:
    """p of each question to a claim's differences, all one-sided, not corrected for other claims.

    Args:
        asked: lines of `compare_rows`.
        sign: what the claim says of them.

    Returns:
        supported (all differences have the sign: the largest p), contradicted (one has the other: the
        smallest, times their number), half and less (all are below half of, below the paper's effect),
        equivalent (all lie within ± the smallest effect of interest). NaN where the seeds or the paper do not
        tell.
    """
    favour, se = sign * asked["difference"], asked["se"]
    above = lambda least: pd.Series(stats.t.sf((favour - least) / se, asked["freedom"]))
    below = lambda most: pd.Series(stats.t.cdf((favour - most) / se, asked["freedom"]))
    theirs = sign * asked["paper_difference"] / asked["paper_reference"] * asked["reference"]
    edge = asked["of_interest"]
    return {
        SUPPORTED: above(0).max(skipna=False),
        CONTRADICTED: np.minimum(1, len(asked) * below(0).min(skipna=False)),
        "half": below(theirs / 2).max(skipna=False),
        "less": below(theirs).max(skipna=False),
        "equivalent": np.maximum(above(-edge).max(skipna=False), below(edge).max(skipna=False)),
    }


def holm(p: pd.Series) -> pd.Series:
    """p corrected for all questions asked at once (Holm, 1979); NaN is not a question."""
    asked = p.dropna()
    corrected = multipletests(asked, method="holm")[1] if len(asked) else []
    return pd.Series(corrected, asked.index, float).reindex(p.index)


def seeds_needed(asked: pd.DataFrame) -> float:
    """Seeds with which differences of 0 would be shown, with 80 % power, not to matter; NaN: unknown."""
    z = stats.norm.ppf(1 - ALPHA) + stats.norm.ppf(1 - (1 - POWER) / 2)  # two tests, both must succeed
    needed = (z * asked["se"] / asked["of_interest"]) ** 2 * asked["seeds"]
    return ceil(needed.max()) if needed.notna().all() else np.nan


def judge_cost(cost: pd.DataFrame) -> dict:
    """C7, of columns row, weights, mflop: supported if inference takes as many of each as the baseline's."""
    counts = cost.set_index("row")[["weights", "mflop"]]
    if not {BASELINE, DGCLNET, BEST} <= set(counts.index):
        return {"verdict": UNMEASURED}
    more = counts - counts.loc[BASELINE]
    verdict = SUPPORTED if more.eq(0).all(axis=None) else CONTRADICTED
    return {"verdict": verdict, "difference": int(more["weights"].max()), "unit": "weights"}


def _asked(table: pd.DataFrame, claim: Claim, *, part: bool = False) -> pd.DataFrame:
    """The differences that a claim is about; none unless all of them were measured, or a part is enough."""
    pairs = [pair in claim.pairs for pair in zip(table["row"], table["minus"], strict=True)]
    chosen = table["measure"].isin(claim.measures) & np.array(pairs, bool)
    whole = len(table[chosen]) == len(claim.measures) * len(claim.pairs)
    return table[chosen] if whole or part else table[:0]


def _verdict(p: pd.Series) -> str:
    """What the corrected p of a claim say, the sign first."""
    sure = p < ALPHA
    size = HALF if sure["half"] else LESS if sure["less"] else None
    parts = [SUPPORTED if sure[SUPPORTED] else CONTRADICTED if sure[CONTRADICTED] else None]
    parts += [EQUIVALENT if sure["equivalent"] else None, size]
    return "; ".join(filter(None, parts)) or UNDECIDED


def _weakest(asked: pd.DataFrame, sign: int) -> dict:
    """The difference least in the paper's favour, in lengths of its interval."""
    favour = sign * asked["difference"] / (asked["high"] - asked["low"])
    line = asked.loc[favour.idxmin()] if favour.notna().any() else asked.iloc[0]
    return line[["measure", "row", "minus", "difference", "unit", "low", "high"]].to_dict()


def conclude(sentences: dict[str, bool]) -> None:
    """Show those sentences (Markdown) of {sentence: does it hold} that hold."""
    for text, holds in sentences.items():
        if holds:
            display(Markdown(text))


def conclusion(text: str, *, holds: bool) -> None:
    """Show a sentence (Markdown) that somebody wrote, or that this run's numbers do not support it."""
    if holds:
        display(Markdown(text))
        return
    style = "border-left: .4rem solid #d55e00; background: #fdf3ec; padding: .6rem"
    about = "<strong>This run does not support the conclusion that was written here:</strong>"
    display(HTML(f'<div class="warning" style="{style}">{about} {escape(text.replace("**", ""))}</div>'))
