"""Differences and verdicts against an independent reading of the per-sample files, and against chance."""

import csv
import json
import statistics

import numpy as np
import pandas as pd
import pytest
from run_folders import write_run

from handdgcl.report.claims import CLAIMS, holm, questions, verdicts
from handdgcl.report.differences import compare_rows, interval, paper_pairs
from handdgcl.report.results import Results, read_results
from handdgcl.report.table1 import RIVALS, rival_pairs
from handdgcl.rows import ROWS, TABLE_2

EMPTY = pd.DataFrame(columns=["row", "title", "seed"])


@pytest.fixture
def rows(tmp_path):
    for row in ("baseline", "noise", "dgclnet", "similarity"):
        for seed in range(3):
            write_run(tmp_path, row, seed, images=8, level=18 if row == "similarity" else 20)
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
    write_run(rows, pair[0], 7, images=8)  # a seed that the other row lacks does not count
    table = compare_rows(read_results(rows), [pair]).set_index(["measure", "row", "minus"])
    seeds, theirs = [], []
    for seed in range(3):
        a, b = (by_image(rows / f"{row}-{seed}", column) for row in pair)
        seeds.append(statistics.fmean(a[image] - b[image] for image in a))
        theirs.append(statistics.fmean(b.values()))
    line = table.loc[(column.removesuffix("_mm"), *pair)]
    mean, half = statistics.fmean(seeds), 4.302653 * statistics.stdev(seeds) / 3**0.5  # t of two degrees
    expected = (mean, mean - half, mean + half, min(seeds), max(seeds), statistics.fmean(theirs))
    assert tuple(
        line[["difference", "paired_low", "paired_high", "least", "largest", "reference"]]
    ) == pytest.approx(expected, abs=1e-5)
    assert (line["seeds"], line["samples"]) == (3, 8)
    first, second = (ROWS[row].paper_mm[column == "mpvpe_mm"] for row in pair)
    assert (line["paper_difference"], line["paper_reference"]) == pytest.approx((first - second, second))


def test_the_pooled_interval_by_its_formula(rows):
    """A difference has twice the residuals' variance, of (rows - 1)(seeds - 1) degrees, over the seeds."""
    results = read_results(rows)
    line = compare_rows(results, [("similarity", "baseline")]).set_index("measure").loc["mpjpe"]
    y = results.samples.groupby(["row", "seed"])["mpjpe_mm"].mean().unstack().to_numpy()
    residual = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    half = 2.446912 * ((residual**2).sum() / 6 * 2 / 3) ** 0.5  # t of six degrees
    assert (line["high"] - line["low"]) / 2 == pytest.approx(half, rel=1e-5)
    assert line["freedom"] == 6 and (line["high"] + line["low"]) / 2 == pytest.approx(line["difference"])


def test_equal_time_gives_a_slow_row_fewer_epochs(tmp_path):
    curve = [10.0, 9, 8, 7, 6, 5]
    for row, seconds in (("baseline", 60), ("dgclnet", 120)):
        write_run(tmp_path, row, 0, curve=curve)
        path = tmp_path / f"{row}-0" / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))
    table = compare_rows(read_results(tmp_path)).set_index("measure")["difference"]
    # From epoch 2 to 6 the one falls from 9 to 5, the other in the same time from 10 to 8.
    assert table["curve"] == 0 and table["curve_time"] == pytest.approx(9 - 7)


def test_the_area_under_a_curve_and_samples_that_were_not_measured(tmp_path):
    for row, curve in (("baseline", [9.0, 5, 3]), ("dgclnet", [8.0, 6, 1])):
        depth = [0.0, 3, 0, 0, 4, 4, np.nan, np.nan] if row == "baseline" else np.zeros(8)
        write_run(tmp_path, row, 0, curve=curve, columns={"penetration_depth_mm": depth})
    table = compare_rows(read_results(tmp_path)).set_index(["measure", "row", "minus"])
    assert table.loc[("curve", "dgclnet", "baseline"), "difference"] == pytest.approx(21 / 4 - 22 / 4)
    collide = table.loc[("collisions", "dgclnet", "baseline")]
    # One hand of the first, both of the third.
    assert (collide["difference"], collide["samples"]) == (-0.5, 3)
    assert table.loc[("depth", "dgclnet", "baseline"), "difference"] == pytest.approx(-(1.5 + 4) / 3)


def test_the_best_explicit_row_is_chosen_by_validation(rows):
    write_run(rows, "mask", 0, images=8, level=5, curve=[50.0, 50, 50])  # the least test error by far
    assert ("dgclnet", "noise") in paper_pairs(read_results(rows))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """95 % of them; a difference as large as `detectable` is seen in about 80 % of studies."""
    studies = np.random.default_rng(0).normal(0, 1, (800, 5))
    lines = pd.DataFrame([interval(study) for study in studies])
    held = ((lines["low"] < 0) & (lines["high"] > 0)).mean()
    assert held == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 800) ** 0.5)
    seen = (lines["low"] + lines["detectable"].mean() > 0).mean()
    assert seen == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("seeds", [[1.0], [2.0, 2.0, 2.0], [0.0, 0.0]])
def test_seeds_that_cannot_tell_give_no_interval(seeds):
    line = interval(np.array(seeds))
    assert line["difference"] == seeds[0] and np.isnan([line["low"], line["high"], line["p"]]).all()


def test_holm_on_a_worked_example():
    """Holm (1979): the k-th smallest of m times m - k + 1, never falling; NaN does not count."""
    corrected = holm(pd.Series([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert list(corrected) == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)


def test_a_difference_without_an_error_leaves_every_question_open():
    line = {"difference": -1.0, "se": 0.1, "freedom": 2, "paper_difference": -1.0, "paper_reference": 10.0}
    asked = pd.DataFrame([line | {"reference": 20.0, "of_interest": 0.4}] * 2)
    assert not np.isnan(list(questions(asked, -1).values())).any()
    asked.loc[1, "se"] = np.nan
    assert np.isnan(list(questions(asked, -1).values())).all()


def made_results(rng, *, shift=(), rows=TABLE_2):
    """Three seeds of every row with errors about 20 mm: noise of seeds 0.1 mm, and the rows' shifts."""
    lines, shift = [], dict(shift)
    for row in rows:
        for seed in range(3):
            level = 20 + shift.get(row, 0) + 0.1 * rng.normal()
            index = range(6)
            about = {"row": row, "title": row, "seed": seed, "index": index, "hand": "left"}
            lines.append(pd.DataFrame(about | {"mpjpe_mm": level, "mask_iou": 0.8 - 0.01 * level}))
    samples = pd.concat(lines, ignore_index=True)
    curves = samples.rename(columns={"index": "epoch", "mpjpe_mm": "val_mpjpe_mm"})
    return Results(EMPTY, samples, curves, EMPTY, EMPTY, EMPTY)


def answers(results, **others):
    return verdicts(compare_rows(results), **others).set_index("claim")


def test_clear_effects_are_found_with_their_signs():
    shift = {"dgclnet": -2, "similarity": -4, "mask": 2, "noise": 2, "edge": 2, "flip": 2}
    found = answers(made_results(np.random.default_rng(0), shift=shift))
    assert list(found.index) == list(CLAIMS)
    assert found.loc[["C1", "C2", "C3", "C4", "C6"], "verdict"].str.startswith("supported").all()
    assert set(found.loc[["C5", "C7", "C8"], "verdict"]) == {"not measured"}
    assert found.loc["C3", "difference"] == pytest.approx(-2, abs=0.5)
    against = {row: -value for row, value in shift.items()}
    found = answers(made_results(np.random.default_rng(0), shift=against))
    assert found.loc[["C1", "C2", "C3", "C4", "C6"], "verdict"].str.startswith("contradicted").all()
    assert found.loc[["C1", "C2", "C3"], "verdict"].str.endswith("less than half the paper's effect").all()


def test_one_clear_row_does_not_decide_for_all():
    results = made_results(np.random.default_rng(1), shift={"mask": 4})
    found = answers(results).loc["C1"]
    assert found["verdict"] == "undecided" and found["seeds_needed"] > 0
    assert found["row"] != "mask"  # the clear one is not the weakest


def test_rows_outside_the_papers_table_do_not_touch_its_claims():
    rng = np.random.default_rng(2)
    results = made_results(rng, shift={"mask": 1}, rows=(*TABLE_2, "dgclnet_self"))
    known = made_results(np.random.default_rng(2), shift={"mask": 1})
    pd.testing.assert_frame_equal(answers(results), answers(known))
    control = compare_rows(results, [("dgclnet_self", "mask")])
    assert len(control) == 3 and control["paper_difference"].isna().all()


def test_rows_that_are_alike_are_shown_to_be():
    """Noise of 0.1 mm beside a smallest effect of interest of 0.4 mm."""
    rng = np.random.default_rng(0)
    found = pd.concat([answers(made_results(rng)).loc[["C1", "C2", "C3"]] for _ in range(12)])["verdict"]
    assert found.str.contains("no effect that matters; less than").mean() > 0.9
    assert found.str.contains("supported|contradicted").mean() <= 0.05 + 3 * (0.05 * 0.95 / 36) ** 0.5


def test_a_claim_about_an_inert_row_is_not_tested():
    found = answers(made_results(np.random.default_rng(0)), inert={"similarity"})["verdict"]
    untested = found.index[found.str.startswith("not tested")]
    assert list(untested) == ["C2", "C3", "C4", "C6"] and found["C1"] != found["C2"]


def test_one_seed_decides_nothing_and_one_row_is_no_difference(tmp_path):
    write_run(tmp_path, "dgclnet", 0)
    assert compare_rows(read_results(tmp_path)).empty
    for row in (row for row in TABLE_2 if row != "dgclnet"):
        write_run(tmp_path, row, 0)
    found = answers(read_results(tmp_path))
    assert found["low"].isna().all() and set(found["verdict"]) == {"undecided", "not measured"}


def test_the_cost_of_inference_is_counted():
    results = made_results(np.random.default_rng(0))
    cost = pd.DataFrame({"row": ["baseline", "dgclnet", "similarity"], "weights": 100, "mflop": 5.0})
    verdict = lambda cost: answers(results, cost=cost).loc["C7", "verdict"]
    assert verdict(cost) == "supported" and verdict(cost[:2]) == "not measured"
    assert verdict(cost.assign(weights=[100, 100, 101])) == "contradicted"
    assert verdict(cost.assign(mflop=[5.0, 5.1, 5.0])) == "contradicted"


@pytest.mark.parametrize(
    ("better", "run", "answer"),
    [
        ((), RIVALS, "supported"),
        ((), RIVALS[:2], "undecided"),  # the others might be better
        (RIVALS[:1], RIVALS, "contradicted"),
        (RIVALS[:1], RIVALS[:2], "contradicted"),  # whatever the others are
        ((), (), "not measured"),
    ],
)
def test_the_state_of_the_art_needs_all_rivals_and_falls_by_one(rows, better, run, answer):
    for row in run:
        for seed in range(3):
            write_run(rows, row, seed, images=8, level=12 if row in better else 30)
    results = read_results(rows)
    judged = verdicts(compare_rows(results, rival_pairs(results))).set_index("claim")
    assert judged.loc["C9", "verdict"] == answer
    assert np.isnan(judged.loc["C9", "seeds_needed"])
