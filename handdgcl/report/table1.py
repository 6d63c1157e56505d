"""Table 1 twice and apart: the paper's quotations, and the methods' families as we measured them."""

from collections.abc import Iterable

import pandas as pd

from handdgcl.report.differences import COLLISION_MM
from handdgcl.report.results import BASELINE, BEST, DGCLNET, ERRORS, MEAN_HAND, Results, row_title, summary
from handdgcl.rows import FAMILIES

# Han et al. 2023, InterHand2.6M, mm, and what each number is; there is no vertex error for three methods.
_QUOTED = (
    ("Boukhayma et al. 2019", 16.63, 17.98, "one hand at a time; Meng et al. report 27.14 in their protocol"),
    ("Zhang et al. 2021", 13.48, 13.95, "the data's first release; on v1.0 its authors report 8.64 / 9.59"),
    ("Rong et al. 2021", 13.56, None, "source not found; Meng et al. report 17.12 in their protocol"),
    ("Kim et al. 2021", 12.08, None, "the first release; mean over single and interacting hands"),
    ("Meng et al. 2022", 10.97, None, "single and interacting (13.12) hands; wrist root, not scaled"),
    ("Li et al. 2022 (IntagHand)", 8.79, 9.03, "interacting hands; middle knuckle root, scaled"),
    (
        "HandDGCL (Han et al. 2023)",
        8.86,
        9.14,
        "interacting hands; root aligned, scaled by the middle metacarpal",
    ),
)
# The rows that stand for a family.
RIVALS = ("attention", "parametric45", "cascade", "factorised", "pair_judge", "removal")
# A family's row, and the one that lacks its last part.
PARTS = (
    ("attention_heads", BASELINE),
    ("attention_image", "attention_heads"),
    ("attention", "attention_image"),
    ("parametric45", "parametric6"),
    ("factorised", "factorised_free"),
    ("pair_judge", "pair"),
    ("removal", "single"),
    ("single_oracle", "single"),
)


def quoted() -> pd.DataFrame:
    """The paper's Table 1: method, mpjpe_mm, mpvpe_mm, note (what the number is)."""
    return pd.DataFrame(_QUOTED, columns=["method", "mpjpe_mm", "mpvpe_mm", "note"])


def measured(results: Results) -> pd.DataFrame:
    """Our rows and those of the families, on one data set.

    Returns:
        row, method, then mpjpe_mm, mpjpe_sd_mm, mpvpe_mm, mpvpe_sd_mm (over seeds), mrrpe_mm, collisions
        (share of pairs deeper than 2 mm in each other), depth_mm, seconds (of one training run), seeds. What
        was not measured is NaN.
    """
    table = summary(results)
    chosen = [row for row in (MEAN_HAND, BASELINE, *FAMILIES, DGCLNET, BEST) if row in table.index]
    samples = results.samples
    if "penetration_depth_mm" in samples:
        depth = samples["penetration_depth_mm"]
        deep = (depth > COLLISION_MM).astype(float).where(depth.notna())
        table["collisions"], table["depth_mm"] = (x.groupby(samples["row"]).mean() for x in (deep, depth))
    for name, values in (("mrrpe_mm", results.metrics), ("seconds", results.facts)):
        if name in values:
            table[name] = values.groupby("row")[name].mean()
    errors = [f"{m}_{unit}" for m in ERRORS for unit in ("mm", "sd_mm")]
    columns = ["method", *errors, "mrrpe_mm", "collisions", "depth_mm", "seconds", "seeds"]
    table = table.loc[chosen].assign(method=[row_title(row) for row in chosen])
    return table.reindex(columns=columns).reset_index()


def rival_pairs(results: Results) -> list[tuple[str, str]]:
    """DGCLNet* and each family that was run with its seeds: C9, the paper's claim of the state of the art."""
    return _with_seeds_of_first(results, [(BEST, row) for row in RIVALS])


def part_pairs(results: Results) -> list[tuple[str, str]]:
    """Those of `PARTS` that were run with the same seeds: what each part of a family adds."""
    return _with_seeds_of_first(results, PARTS)


def _with_seeds_of_first(results: Results, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs whose second row was run with the first one's seeds."""
    seeds = results.metrics.groupby("row")["seed"].agg(set)
    return [(a, b) for a, b in pairs if {a, b} <= set(seeds.index) and seeds[a] <= seeds[b]]
