"""What the report says of the sweeps, against an independent reading of their files, and against chance."""

import csv
import re
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from run_folders import leave_run
from simulate_statistics import left_out_terms, share_of_sweeps
from sweep_folders import leave_sweeps

from handdgcl.config import load_config
from handdgcl.errors import InputError
from handdgcl.project import project_root
from handdgcl.report.balance import of_terms
from handdgcl.report.report import write_report
from handdgcl.report.runs import read_runs
from handdgcl.report.sweep_figures import sweep_figures
from handdgcl.report.sweep_section import other_parameters
from handdgcl.report.sweep_text import RULINGS, rulings, sentences, untried
from handdgcl.report.sweeps import TASKS, read_sweeps

ROOT = project_root(__file__)
FILE = ROOT / "reports" / "sweeps" / "sweeps.yaml"
SHIFT = {
    ("tau", "similarity", "0.5", "mpjpe_mm"): 1.5,
    ("similarity", "similarity", "dot", "mpjpe_mm"): -2.0,
    ("images", "similarity", "1000", "mpjpe_mm"): 3.0,
}


@pytest.fixture(scope="module")
def definition():
    return yaml.safe_load(FILE.read_text())


@pytest.fixture(scope="module")
def file(tmp_path_factory, definition):
    return leave_sweeps(tmp_path_factory.mktemp("sweeps"), definition, shift=SHIFT)


@pytest.fixture(scope="module")
def sweeps(file):
    return read_sweeps("default", file)


def plain_difference(folder, one, other, column):
    """Mean over seeds and samples of the difference of two (row, point), from the files alone."""
    with open(folder / "runs.csv") as runs, open(folder / "samples.csv") as samples:
        name = {(line["row"], line["point"], line["seed"]): line["run"] for line in csv.DictReader(runs)}
        errors = {(line["run"], line["index"]): float(line[column]) for line in csv.DictReader(samples)}
    index = {i for _, i in errors}
    by_seed = [
        statistics.fmean(errors[name[*one, s], i] - errors[name[*other, s], i] for i in index) for s in "012"
    ]
    return statistics.fmean(by_seed), min(by_seed), max(by_seed)


@pytest.mark.parametrize(
    ("sweep", "one", "other"),
    [
        ("tau", ("similarity", "0.5"), ("similarity", "0.07")),
        ("strength", ("flip", "0.6"), ("flip", "0.3")),
        ("strength", ("flip", "0.6"), ("baseline", "0.6")),
        ("images", ("similarity", "1000"), ("baseline", "1000")),
    ],
)
@pytest.mark.parametrize("column", ["mpjpe_mm", "pixel_px"])
def test_differences_are_what_the_samples_say(sweeps, file, sweep, one, other, column):
    keys = ["sweep", "row", "point", "minus_row", "minus_point", "measure"]
    line = sweeps.effects.set_index(keys).sort_index().loc[(sweep, *one, *other, column)]
    expected = plain_difference(file.parent / "results" / sweep, one, other, column)
    assert (line["difference"], line["least"], line["largest"]) == pytest.approx(expected)
    assert (line["seeds"], line["samples"], line["clusters"]) == (3, 60, "10 subjects")
    assert line["low"] < line["difference"] < line["high"] and line["p_holm"] >= line["p"]


def test_every_point_is_compared_once_with_its_base_and_with_the_baseline(sweeps):
    lines = sweeps.effects[sweeps.effects["measure"].eq("mpjpe_mm")]
    counts = lines.groupby("sweep", sort=False).size().to_dict()
    # strength: 4 rows x 2 points and 4 x 3 with the baseline, whose own points are one and the same run.
    assert counts["strength"] == 8 + 12 and counts["tau"] == 3 and counts["terms"] == 7
    assert counts["images"] == 2 * 3 + 4 and counts["precision"] == 2 + 2
    assert not lines.duplicated(["sweep", "row", "point", "minus_row", "minus_point"]).any()
    same = lines["row"].eq(lines["minus_row"]) & lines["point"].eq(lines["minus_point"])
    assert not same.any()


def test_sentences_name_what_is_beyond_chance_with_its_number(sweeps):
    said = {name: sentences(name, result, sweeps.effects) for name, result in sweeps.results.items()}
    assert re.match(r"Against 0\.07, MPJPE is larger for 0\.5 \(\+1\.\d\d mm, ", said["tau"][0])
    assert "MPJPE is smaller for dot (\N{MINUS SIGN}" in said["similarity"][0]
    assert "no difference in MPJPE is significant after Holm's correction: the largest is" in said["queue"][0]
    assert "DGCLNet* at 1000 (+" in said["images"][0]
    assert re.match(r"Against the baseline, MPJPE is larger for 1000 \(\+", said["images"][1])
    assert len(said["precision"]) == 2 and all(len(s) == 1 for n, s in said.items() if n in ("tau", "terms"))


def test_one_seed_gives_numbers_and_no_interval(tmp_path, definition):
    swept = {k: v for k, v in definition["sweeps"].items() if k in ("tau", "terms")}
    one = definition | {"sweeps": swept}
    sweeps = read_sweeps("default", leave_sweeps(tmp_path, one, seeds=(0,), shift=SHIFT))
    assert sweeps.effects["p_holm"].isna().all()
    assert (
        "with one seed, which gives no interval: 0.02 ("
        in sentences("tau", sweeps.results["tau"], sweeps.effects)[0]
    )
    answer = of_terms(sweeps.effects)
    assert answer["verdict"] == "undecided at this size" and "one seed" in answer["reading"]
    assert set(sweep_figures(sweeps)) == {"sweeps", "terms"}


def test_rulings_are_those_of_the_reading_and_say_what_happened(sweeps):
    text = (ROOT / "reports" / "reading.md").read_text()
    assert dict(re.findall(r"^\*\*(R\d+), (.+?)\.\*\*", text, re.MULTILINE)) == RULINGS
    table = rulings(sweeps)
    lines = {line["cells"][1].split(": ")[1]: line["cells"] for line in table["lines"]}
    assert lines["dot instead of centred"][0].startswith("R2")
    assert lines["dot instead of centred"][-1] == "what was tried is better"
    assert lines["128 instead of 2048"][-1] == "no difference shown"
    assert [line["cells"][0][:2] for line in table["lines"]] == sorted(
        line["cells"][0][:2] for line in table["lines"]
    )
    assert [name.split()[0] for name in untried(sweeps)] == [f"R{k}" for k in range(6, 12)]


ALL = dict.fromkeys(TASKS, 4.0)


@pytest.mark.parametrize(
    ("shift", "verdict", "reading"),
    [
        (ALL, "supported", "for 7 of 7"),
        (ALL | {"consistent": 0.0}, "undecided at this size", "for 6 of 7"),
        (ALL | {"contrast": -4.0}, "contradicted", "makes significantly smaller: MPJPE without contrast"),
        (
            ALL | {"length": -4.0},
            "undecided at this size",
            "makes significantly smaller: Scale error without length",
        ),
    ],
)
def test_c8_follows_its_rule(shift, verdict, reading):
    answer = of_terms(left_out_terms(np.random.default_rng(0), shift=shift).effects)
    assert answer["verdict"] == verdict and reading in answer["reading"]
    assert answer["low"] < answer["number"] < answer["high"]


def test_errors_that_nobody_asked_about_do_not_decide_c8():
    effects = left_out_terms(np.random.default_rng(0), shift=ALL).effects
    other = effects["point"].eq("contrast") & effects["measure"].eq("pixel_px")
    effects.loc[other, ["difference", "low", "high", "p_holm"]] = [-4.0, -4.1, -3.9, 1e-6]
    assert of_terms(effects)["verdict"] == "supported"


def test_c8_needs_every_term():
    effects = left_out_terms(np.random.default_rng(0)).effects
    assert of_terms(effects[effects["point"] != "length"]) is None
    assert of_terms(effects[:0]) is None


def test_sweeps_without_an_effect_decide_next_to_nothing():
    supported, decided = share_of_sweeps(np.random.default_rng(0), 20)
    assert supported == 0 and decided <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 20)


def test_figures_stand_at_the_differences(sweeps):
    figures = sweep_figures(sweeps)
    panel = next(axis for axis in figures["sweeps"].axes if axis.get_title().startswith("Temperature"))
    lines = sweeps.effects.set_index(["sweep", "point", "measure"])
    expected = [lines.loc[("tau", point, "mpjpe_mm"), "difference"] for point in ("0.02", "0.2", "0.5")]
    assert panel.lines[0].get_ydata() == pytest.approx([expected[0], 0, *expected[1:]])
    cells = {text.get_position(): text.get_text() for text in figures["terms"].axes[0].texts}
    first = lines.loc[("terms", "joints_3d", "mpjpe_mm"), "difference"]
    assert cells[0, 0].rstrip("*").replace("\N{MINUS SIGN}", "-") == f"{first:+.2f}" and len(cells) == 7 * 5


def test_the_page_has_the_sweeps_and_the_answer_to_c8(sweeps, tmp_path):
    for seed in (0, 1):
        leave_run(tmp_path / "rows", "baseline", seed)
    config, runs = load_config(ROOT / "params.yaml"), read_runs(tmp_path / "rows")
    figures = {"terms": sweep_figures(sweeps)["terms"]}
    page = write_report(tmp_path, config, runs, figures, sweeps=sweeps).read_text()
    claim = pd.read_csv(tmp_path / "claims.csv").set_index("claim").loc["C8"]
    answer = of_terms(sweeps.effects)
    assert claim["verdict"] == answer["verdict"] and claim["number"] == pytest.approx(
        answer["number"], abs=1e-4
    )
    assert 'href="#figure-terms"' in page and 'id="figure-terms"' in page
    section = page.split("<h2>Sweeps")[1].split("<h2>")[0]
    assert "c0ffee" in section and "Some CPU" in section and "what was tried is better" in section
    assert "Against 0.07, MPJPE is larger for 0.5" in section
    stored = pd.read_csv(tmp_path / "sweeps.csv")
    assert np.allclose(stored["difference"], sweeps.effects["difference"], atol=1e-4)
    page = write_report(tmp_path, config, runs, {}).read_text()
    assert "<h2>Sweeps" not in page and pd.read_csv(tmp_path / "sweeps.csv").empty


def test_a_sweep_of_other_parameters_is_said_to_be_one():
    study = {"train": {"epochs": 6, "lr": 0.01}, "data": {"image_size": 96}, "seeds": [0]}
    swept = {"train": {"epochs": 2, "lr": 0.01}, "data": {"image_size": 96}, "seeds": [1, 2]}
    assert other_parameters(swept, study) == []
    assert other_parameters(swept | {"data": {"image_size": 64}}, study) == ["data.image_size 64"]


def test_only_the_profile_that_was_swept_has_sweeps(file, definition, tmp_path):
    assert read_sweeps("smoke", file) is None
    bare = tmp_path / "sweeps.yaml"
    bare.write_text(yaml.safe_dump(definition))
    assert read_sweeps("default", bare) is None


def test_results_that_do_not_fit_are_refused(tmp_path, definition):
    file = leave_sweeps(tmp_path, definition | {"sweeps": {"tau": definition["sweeps"]["tau"]}})
    runs = tmp_path / "results" / "tau" / "runs.csv"
    table = pd.read_csv(runs)
    table[table["point"] != 0.5].to_csv(runs, index=False)
    with pytest.raises(
        InputError, match=r"tau: not the rows and points of sweeps\.yaml; run `dvc repro .*@tau`"
    ):
        read_sweeps("default", file)
    runs.unlink()
    with pytest.raises(InputError, match=r"tau: not whole"):
        read_sweeps("default", file)


@pytest.mark.parametrize("folder", sorted((FILE.parent / "results").glob("*/")), ids=lambda path: path.name)
def test_committed_results_are_what_the_committed_samples_say(folder: Path):
    runs, samples = (pd.read_csv(folder / f"{name}.csv") for name in ("runs", "samples"))
    errors = ["mpjpe_mm", "mpvpe_mm", "mrrpe_mm", "scale_mm", "pixel_px"]
    means = samples.groupby("run")[errors].mean().loc[runs["run"]]
    assert np.allclose(means, runs[errors], rtol=1e-3)
