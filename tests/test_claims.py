"""Differences and verdicts against an independent reading of the per-sample files, and against chance."""

import csv
import statistics

import numpy as np
import pandas as pd
import pytest
from run_folders import leave_run
from simulate_statistics import made_runs, permuted, share_of_pages

from handdgcl.report.claims import CLAIMS
from handdgcl.report.differences import clusters, compared_pairs, differences, paired
from handdgcl.report.runs import read_runs
from handdgcl.report.verdicts import verdicts
from handdgcl.rows import ROWS


def answer(runs, cost=None):
    table = differences(runs)
    return table, verdicts(runs, table, cost).set_index("claim")


@pytest.fixture
def rows(tmp_path):
    for row in ("baseline", "noise", "dgclnet", "similarity"):
        for seed in range(3):
            leave_run(tmp_path, row, seed, images=8, level=18 if row == "similarity" else 20)
    return tmp_path


def by_image(folder, column):
    values = {}
    with open(folder / "samples.csv") as file:
        for line in csv.DictReader(file):
            values.setdefault(line["index"], []).append(float(line[column]))
    return {image: statistics.fmean(both) for image, both in values.items()}


@pytest.mark.parametrize("column", ["mpjpe_mm", "mpvpe_mm"])
@pytest.mark.parametrize(
    "pair", [("similarity", "baseline"), ("similarity", "dgclnet"), ("dgclnet", "noise")]
)
def test_differences_are_what_the_samples_say(rows, column, pair):
    table = differences(read_runs(rows)).set_index(["measure", "row", "minus"])
    seeds = []
    for seed in range(3):
        a, b = (by_image(rows / f"{row}-{seed}", column) for row in pair)
        seeds.append(statistics.fmean(a[image] - b[image] for image in a))
    line = table.loc[(column.removesuffix("_mm"), *pair)]
    assert line["difference"] == pytest.approx(statistics.fmean(seeds))
    assert (line["least"], line["largest"]) == pytest.approx((min(seeds), max(seeds)))
    assert (line["seeds"], line["samples"], line["clusters"]) == (3, 8, "8 images")
    assert line["low"] < line["difference"] < line["high"]
    theirs = [statistics.fmean(by_image(rows / f"{pair[1]}-{k}", column).values()) for k in range(3)]
    assert line["reference"] == pytest.approx(statistics.fmean(theirs))
    paper = {"mpjpe_mm": "paper_mpjpe_mm", "mpvpe_mm": "paper_mpvpe_mm"}[column]
    first, second = (getattr(ROWS[row], paper) for row in pair)
    assert (line["paper_difference"], line["paper_reference"]) == pytest.approx((first - second, second))


def test_the_area_under_a_curve(rows):
    runs = read_runs(rows)
    line = differences(runs).set_index(["measure", "row", "minus"]).loc[("curve", "dgclnet", "baseline")]
    area = {}
    for run in runs:
        first, middle, last = run.curves["val_mpjpe_mm"]
        area.setdefault(run.row, []).append((first / 2 + middle + last / 2) / 2)
    assert line["difference"] == pytest.approx(np.mean(area["dgclnet"]) - np.mean(area["baseline"]))


def test_the_best_explicit_row_is_chosen_by_validation(rows):
    leave_run(rows, "mask", 0, images=8, level=5)  # the least test error by far
    curves = pd.read_csv(rows / "mask-0" / "curves.csv").assign(val_mpjpe_mm=50)
    curves.to_csv(rows / "mask-0" / "curves.csv", index=False)
    assert ("dgclnet", "noise") in compared_pairs(read_runs(rows))


def test_samples_are_clustered_by_the_coarsest_division_with_enough_parts():
    samples = pd.DataFrame(
        {"index": range(24), "subject": np.arange(24) // 12, "capture": np.arange(24) // 3}
    )
    assert clusters(samples)[0] == "8 captures"
    label, number = clusters(samples.assign(subject=samples["index"] % 6))
    assert label == "6 subjects" and number.nunique() == 6


def test_seeds_that_only_one_row_has_do_not_count():
    values = {("baseline", 0): 20.0, ("dgclnet", 0): 19.0, ("dgclnet", 1): 30.0}
    values = {key: pd.Series([value]) for key, value in values.items()}
    assert paired(values, "dgclnet", "baseline").to_dict() == {0: {0: -1.0}}


def test_clear_effects_are_found_with_their_signs():
    shift = {"dgclnet": -2, "similarity": -4, "mask": 2, "noise": 2, "edge": 2, "flip": 2}
    table, found = answer(made_runs(np.random.default_rng(0), shift=shift))
    assert list(found.loc[["C1", "C2", "C3", "C4", "C6"], "verdict"]) == ["supported"] * 5
    assert list(found.loc[["C5", "C7", "C8"], "verdict"]) == ["not measured"] * 3
    assert found.loc["C3", "number"] == pytest.approx(-2, abs=0.7)
    assert "DGCLNet* minus DGCLNet" in found.loc["C3", "reading"]
    line = table.set_index(["measure", "row", "minus"]).loc["mpjpe", "similarity", "dgclnet"]
    share = f"{100 * line['difference'] / line['reference']:.1f}".replace("-", "\N{MINUS SIGN}")
    assert f"Of the error of DGCLNet it is {share} %" in found.loc["C3", "reading"]
    assert (
        f"in the paper {100 * (8.86 - 9.02) / 9.02:.1f}".replace("-", "\N{MINUS SIGN}")
        in found.loc["C3", "reading"]
    )
    _, found = answer(made_runs(np.random.default_rng(0), shift={row: -v for row, v in shift.items()}))
    assert list(found.loc[["C1", "C2", "C3", "C4", "C6"], "verdict"]) == ["contradicted"] * 5
    assert (table["p_holm"] >= table["p"]).all()


def test_one_clear_row_does_not_decide_for_all():
    runs = made_runs(np.random.default_rng(1), shift={"mask": 4})
    table, found = answer(runs)
    assert found.loc["C1", "verdict"] == "undecided at this size"
    assert found.loc["C1", "reading"].startswith("1 of 4 differences confirm it, 0 refute it")
    lines = table[table["claim"] == "C1"]
    least = lines.loc[(lines["difference"] / (lines["high"] - lines["low"])).idxmin()]
    assert tuple(found.loc["C1", ["number", "low", "high"]]) == tuple(least[["difference", "low", "high"]])
    rises = [run.curves["val_mpjpe_mm"].diff().clip(lower=0).sum() for run in runs if run.row == "dgclnet"]
    assert f"{np.mean(rises):.2f} mm in GCN + DGCLNet," in found.loc["C4", "reading"]


def test_collisions_are_counted_and_the_truths_own_are_named():
    runs = made_runs(np.random.default_rng(2))
    for run in runs:
        depth = 0.0 if run.row in ("dgclnet", "similarity") else 1.0 + 0.01 * run.seed
        run.samples["penetration_depth_mm"] = depth + 0.001 * run.samples["index"] * (depth > 0)
        run.samples["true_penetration_depth_mm"] = 0.25 * (run.samples["index"] % 2)
    table, found = answer(runs)
    line = table.set_index(["measure", "row", "minus"]).loc[("collisions", "dgclnet", "baseline")]
    assert line["difference"] == -1
    assert found.loc["C5", "verdict"] == "supported"
    assert "50.0% of pairs collide" in found.loc["C5", "reading"]


def test_one_seed_decides_nothing(tmp_path):
    for row in ROWS:
        leave_run(tmp_path, row, 0, level=10 if row == "dgclnet" else 20)
    table, found = answer(read_runs(tmp_path))
    assert table["low"].isna().all() and table["p"].isna().all()
    assert set(found["verdict"]) == {"undecided at this size", "not measured"}
    assert "one seed" in found.loc["C3", "reading"]


def test_the_cost_of_inference_is_counted():
    cost = pd.DataFrame({"row": ["baseline", "dgclnet", "similarity"], "weights": [100, 100, 100]})
    cost = cost.assign(training_only_weights=[0, 40, 41], mflop=5.0, milliseconds=[2.0, 2.1, 2.2])
    runs = made_runs(np.random.default_rng(0))
    found = answer(runs, cost)[1].loc["C7"]
    assert found["verdict"] == "supported" and "41 weights that only training uses" in found["reading"]
    cost.loc[1, "weights"] = 101
    found = answer(runs, cost)[1].loc["C7"]
    assert found["verdict"] == "contradicted" and found["number"] == 1
    cost = cost.assign(weights=100, mflop=[5.0, 5.0, 5.1])
    found = answer(runs, cost)[1].loc["C7"]
    assert found["verdict"] == "contradicted" and "and 0.1 million more in another row" in found["reading"]


def test_permuted_labels_support_next_to_nothing():
    """Rows that truly differ, with their names exchanged at random in each seed."""
    rng = np.random.default_rng(0)
    runs = made_runs(rng, shift={"dgclnet": -1, "similarity": -1.5, "mask": 1, "flip": 0.5})
    supported, decided = share_of_pages(lambda: permuted(runs, rng), 60)
    assert supported <= 0.05 and decided <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_every_claim_has_a_line_and_its_figure_a_caption():
    from handdgcl.report.page import CAPTIONS

    assert list(CLAIMS) == [f"C{k}" for k in range(1, 9)]
    assert {claim.figure for claim in CLAIMS.values()} - {""} <= set(CAPTIONS)
