"""Tables against an independent reading of the per-sample files; files that do not fit are refused."""

import csv
import json
import shutil
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import MACHINE, write_run

from handdgcl.files import InputError
from handdgcl.report.readme import fill_readme, studies
from handdgcl.report.results import (
    dvc_metrics,
    mean_sd,
    of_seeds,
    parameter_differences,
    provenance,
    read_results,
    table_2,
)
from handdgcl.report.table1 import PARTS, measured, part_pairs, quoted, rival_pairs
from handdgcl.rows import ROWS, TABLE_2

ROOT = Path(__file__).parents[1]


@pytest.fixture
def rows(tmp_path):
    write_run(tmp_path, "mean", 0, level=45)
    for seed in (0, 1, 2):
        write_run(tmp_path, "baseline", seed)
        write_run(tmp_path, "similarity", seed, level=18)
    return tmp_path


def plain_mean(folder, column):
    with open(folder / "samples.csv") as file:
        return statistics.fmean(float(line[column]) for line in csv.DictReader(file))


def test_tables_are_tidy(rows):
    results = read_results(rows)
    for name in ("metrics", "samples", "curves", "joints", "features", "facts"):
        assert list(getattr(results, name).columns[:3]) == ["row", "title", "seed"]
    assert list(results.metrics["row"]) == ["mean"] + ["baseline"] * 3 + ["similarity"] * 3
    assert len(results.samples) == 7 * 8 and len(results.curves) == 6 * 3 and len(results.features) == 6
    joints = results.joints[results.joints["row"] == "mean"]
    assert len(joints) == 2 * 21 and set(joints["error_mm"]) == {45.0} and "middle1" in set(joints["joint"])


def test_table_2_is_what_the_samples_say(rows):
    write_run(rows, "dgclnet_self", 1)
    results = read_results(rows)
    table = table_2(results).set_index("row")
    ours, base = (
        [plain_mean(rows / f"{row}-{s}", "mpvpe_mm") for s in range(3)] for row in ("similarity", "baseline")
    )
    gain = [a - b for a, b in zip(ours, base, strict=True)]
    line = table.loc["similarity"]
    assert line["mpvpe_mm"] == pytest.approx(statistics.fmean(ours))
    assert line["mpvpe_sd_mm"] == pytest.approx(statistics.stdev(ours))
    assert line["mpvpe_difference_mm"] == pytest.approx(statistics.fmean(gain))
    assert line["mpvpe_difference_sd_mm"] == pytest.approx(statistics.stdev(gain))
    assert line["paper_mpvpe_difference_mm"] == -1.49 and line["seeds"] == 3
    assert table.loc["mean", ["mpjpe_difference_mm", "mpjpe_sd_mm", "paper_mpjpe_mm"]].isna().all()
    assert list(table.index) == ["mean", *TABLE_2, "dgclnet_self"]
    assert np.isnan(table.loc["noise", "mpjpe_mm"]) and table.loc["noise", "paper_mpjpe_mm"] == 10.56
    alone = plain_mean(rows / "dgclnet_self-1", "mpjpe_mm") - plain_mean(rows / "baseline-1", "mpjpe_mm")
    assert table.loc["dgclnet_self", "mpjpe_difference_mm"] == pytest.approx(alone)
    metrics = dvc_metrics(results)
    assert metrics["similarity"]["mpvpe_mm"] == line["mpvpe_mm"] and metrics["similarity"]["seeds"] == 3
    assert "mpjpe_sd_mm" not in metrics["mean"]  # one seed has no deviation


def test_the_committed_table_is_what_the_committed_samples_say():
    folder = ROOT / "reports" / "first_build" / "default"
    table = pd.read_csv(folder / "table2.csv").set_index("row")
    for column in ("mpjpe_mm", "mpvpe_mm"):
        means = {path.name: plain_mean(path, column) for path in (folder / "rows").iterdir()}
        for row, line in table.iterrows():
            seeds = [name for name in means if name.rsplit("-", 1)[0] == row]
            assert len(seeds) == line["seeds"]
            assert line[column] == pytest.approx(statistics.fmean(means[name] for name in seeds), abs=1e-4)
            if row not in ("mean", "baseline"):
                gain = [means[name] - means[name.replace(row, "baseline")] for name in seeds]
                difference = line[column.replace("_mm", "_difference_mm")]
                assert difference == pytest.approx(statistics.fmean(gain), abs=2e-4)


def test_table_1_is_quoted_and_measured_apart(rows):
    theirs = quoted().set_index("method")
    full_method = theirs.loc["HandDGCL (Han et al. 2023)", ["mpjpe_mm", "mpvpe_mm"]]
    assert len(theirs) == 7 and tuple(full_method) == ROWS["similarity"].paper_mm
    depth = [0.0, 3, 1, 0, 4, 4, 2, 2]
    write_run(rows, "attention", 0, images=4, columns={"penetration_depth_mm": depth})
    ours = measured(read_results(rows)).set_index("row")
    assert list(ours.index) == ["mean", "baseline", "attention", "similarity"]
    assert ours.loc["mean", "mpjpe_mm"] == pytest.approx(plain_mean(rows / "mean-0", "mpjpe_mm"))
    assert ours.loc["attention", ["collisions", "depth_mm"]].tolist() == [3 / 8, 2]
    assert rival_pairs(read_results(rows)) == []  # of its seeds some were not run
    for seed in (1, 2):
        write_run(rows, "attention", seed, images=4, columns={"penetration_depth_mm": depth})
    assert rival_pairs(read_results(rows)) == [("similarity", "attention")]
    assert "attention" not in set(table_2(read_results(rows))["row"])


def test_a_part_is_asked_for_where_both_its_rows_have_the_same_seeds(rows):
    assert part_pairs(read_results(rows)) == []
    for seed in (0, 1, 2):
        write_run(rows, "attention_heads", seed)
    write_run(rows, "attention_image", 0)
    assert part_pairs(read_results(rows)) == [
        ("attention_heads", "baseline"),
        ("attention_image", "attention_heads"),
    ]


def test_what_a_part_is_compared_with_lacks_no_more_than_that_part():
    for row, without in ((ROWS[a], ROWS[b]) for a, b in PARTS):
        assert row.family == without.family or (row.family, without.name) == ("attention", "baseline")
        assert set(without.parts) < set(row.parts) or {row.parts, without.parts} == {("45",), ("6",)}


def test_different_origins_and_parameters_are_listed(rows):
    assert parameter_differences(read_results(rows)).empty
    write_run(rows, "mask", 0, commit="beef", machine=MACHINE | {"accelerator": "Some GPU"})
    write_run(rows, "mask", 1, trained_at="decaf", parameters={"a": {"b": 2}, "seeds": [1]})
    results = read_results(rows)
    origin = provenance(results).set_index("commit")
    assert list(origin.loc["beef"]) == ["Some CPU, 2 cores, 24 GiB, Some GPU", "mask-0"]
    assert "baseline-2" in origin.loc["c0ffee", "runs"] and len(origin) == 3
    assert origin.loc["c0ffee (trained at decaf)", "runs"] == "mask-1"
    found = parameter_differences(results).set_index("value")
    assert set(found["parameter"]) == {"a.b"}
    assert found.loc["2", "runs"] == "mask-1" and "baseline-0" in found.loc["1", "runs"]


def test_some_seeds_apart_are_as_if_only_they_had_been_run(rows, tmp_path_factory):
    alone = tmp_path_factory.mktemp("alone")
    for run in ("baseline-1", "baseline-2", "similarity-1", "similarity-2"):
        shutil.copytree(rows / run, alone / run)
    apart, wanted = of_seeds(read_results(rows), [1, 2]), read_results(alone)
    for name, table in vars(wanted).items():
        pd.testing.assert_frame_equal(getattr(apart, name).reset_index(drop=True), table, check_dtype=False)


def test_without_a_baseline_there_is_no_difference(tmp_path):
    write_run(tmp_path, "mask", 0)
    assert table_2(read_results(tmp_path))["mpjpe_difference_mm"].isna().all()


def test_a_row_that_is_unknown_is_named_and_left_out(rows):
    write_run(rows, "mine", 0)
    with pytest.warns(UserWarning, match=r"not in handdgcl/rows\.py: mine"):
        results = read_results(rows)
    assert "mine" not in set(results.metrics["row"])


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_readme_tells_the_studies_as_their_samples_do():
    """Of what is committed: README's table, and in it a share, from samples.csv by another way."""
    table = studies(ROOT / "reports")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for study, column in table.set_index(table.columns[0]).items():
        rows = ROOT / "reports" / study[1:].partition("]")[0] / "rows"
        base, best = (
            statistics.fmean(plain_mean(folder, "mpjpe_mm") for folder in rows.glob(f"{row}-*"))
            for row in ("baseline", "similarity")
        )
        said = next(text for name, text in column.items() if "DGCLNet* minus" in name)
        assert abs(float(said.split()[0]) - 100 * (best - base) / base) < 0.051
        assert all(f" {text} " in readme for text in column)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: change(f / "metrics.json", metrics={"mpjpe_mm": 19.0}), "baseline-1: mpjpe_mm is 19.0"),
        (lambda f: (f / "metrics.json").write_text("{"), r"metrics.json: not JSON"),
        (lambda f: (f / "metrics.json").write_text("{}"), r"metrics.json: 'commit' is missing"),
        (lambda f: (f / "samples.csv").unlink(), r"samples.csv: no such file"),
        (lambda f: (f / "samples.csv").write_text(""), r"samples.csv: not CSV"),
        (lambda f: (f / "samples.csv").write_text("hand\nleft\n"), r"samples.csv: 'image_id' is missing"),
        (lambda f: write_run(f.parent, "flip", 0, images=5), "flip-0 and mean-0"),
    ],
)
def test_runs_that_do_not_fit_are_refused(rows, spoil, message):
    spoil(rows / "baseline-1")
    with pytest.raises(InputError, match=message):
        read_results(rows)


@pytest.mark.parametrize("name", ["image_id", "iou"])
def test_runs_on_other_images_are_refused(rows, name):
    path = rows / "baseline-1" / "samples.csv"
    table = pd.read_csv(path)
    table.assign(iou=table["iou"] + 1e-3).to_csv(path, index=False)  # of another machine
    read_results(rows)
    table.assign(**{name: table[name] + 0.05}).to_csv(path, index=False)
    with pytest.raises(InputError, match="different samples"):
        read_results(rows)


def test_no_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="dvc repro"):
        read_results(tmp_path / "nowhere")


def test_the_readme_changes_between_its_markers_only(tmp_path):
    begin, end = "<!-- errors: written by notebooks/06_tables.ipynb -->", "<!-- end of errors -->"
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{begin}\nold\n{end}\nbelow\n")
    for _ in range(2):
        fill_readme(readme, "errors", "first", mean_sd(-1.5, 0.25, "+"))
        assert readme.read_text() == f"above\n{begin}\nfirst\n\n-1.50 ± 0.25\n{end}\nbelow\n"
    assert mean_sd(1.5, np.nan) == "1.50" and mean_sd(np.nan, np.nan) == ""
    readme.write_text(begin)
    with pytest.raises(InputError, match="markers"):
        fill_readme(readme, "errors", "first")
