"""Sweeps: what is trained, once, measured on the validation split, and written."""

import json
import shutil

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from filelock import FileLock

from handdgcl.config import load_config, to_dict
from handdgcl.data.batch import finish
from handdgcl.data.loader import eval_batches, open_store
from handdgcl.errors import InputError
from handdgcl.evaluate import load_model
from handdgcl.project import project_root
from handdgcl.rows import ROWS
from handdgcl.sweeps import measure, run
from handdgcl.sweeps.measure import ERRORS, validation_samples
from handdgcl.sweeps.plan import base_config, load_plan, sweep_runs
from handdgcl.sweeps.run import RESULTS, folder_of, run_sweeps, samples_file

ROOT = project_root(__file__)
FILE = ROOT / "reports" / "sweeps" / "sweeps.yaml"
TAU = {"title": "τ", "base": "0.07", "points": {"0.07": {}, "0.5": {"contrast.tau": 0.5}}}
STRENGTH = {
    "title": "strength",
    "base": "0.3",
    "rows": ["baseline", "mask"],
    "points": {"0.1": {"disturb.mask": 0.1}, "0.3": {"disturb.mask": 0.3}},
}


@pytest.fixture
def project(tmp_path, tiny_config, tiny_store):
    """A project's root with a tiny profile, its stores and two sweeps."""
    (tmp_path / "conf" / "profile").mkdir(parents=True)
    shared = {"defaults": ["_self_", {"profile": "tiny"}]} | to_dict(tiny_config)
    (tmp_path / "conf" / "config.yaml").write_text(yaml.safe_dump(shared, sort_keys=False))
    (tmp_path / "conf" / "profile" / "tiny.yaml").write_text("# @package _global_\nseeds: [0]\n")
    for name in ("dvc.yaml", "handdgcl"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "runs" / "tiny" / "data").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "data" / "store").symlink_to(tiny_store)
    return tmp_path


def plan_of(project, **sweeps):
    content = {"profile": "tiny", "common": {"train.epochs": 1}, "seeds": [0], "sweeps": sweeps}
    file = project / "sweeps.yaml"
    file.write_text(yaml.safe_dump(content))
    return load_plan(file)


@pytest.fixture
def trained(monkeypatch):
    """The runs that were trained for real."""
    names, train = [], run.train_row
    monkeypatch.setattr(run, "train_row", lambda *a, **k: names.append(k["out"].name) or train(*a, **k))
    return names


def test_a_sweep_leaves_its_tables_and_trains_nothing_twice(project, trained):
    plan = plan_of(project, tau=TAU, again=TAU | {"title": "the same"})
    run_sweeps(["tau", "again"], plan, root=project)
    assert len(trained) == 2
    out = project / RESULTS / "tau"
    runs, samples = (pd.read_csv(out / f"{name}.csv") for name in ("runs", "samples"))
    assert list(runs["contrast.tau"].fillna(0)) == [0, 0.5] and set(runs["row"]) == {"similarity"}
    assert len(samples) == 2 * 10 and set(samples["run"]) == set(runs["run"]) == set(trained)
    by_run = samples.groupby("run")[list(ERRORS)].mean().loc[runs["run"]]
    assert np.allclose(by_run, runs[list(ERRORS)], rtol=1e-3)
    about = json.loads((out / "about.json").read_text())
    assert about["split"] == "val" and about["machines"][0]["cores"] > 0 and about["commits"]
    assert about["parameters"]["train"]["epochs"] == 1
    assert (project / RESULTS / "again" / "runs.csv").read_bytes() == (out / "runs.csv").read_bytes()
    run_sweeps(["tau"], plan, root=project)
    assert len(trained) == 2


def test_an_interrupted_sweep_goes_on_with_the_next_run(project, trained, monkeypatch):
    plan = plan_of(project, strength=STRENGTH)
    measured = measure.validation_samples
    monkeypatch.setattr(measure, "validation_samples", lambda *a: _interrupt())
    with pytest.raises(KeyboardInterrupt):
        run_sweeps(["strength"], plan, root=project)
    assert len(trained) == 1 and not (project / RESULTS).exists()
    monkeypatch.setattr(measure, "validation_samples", measured)
    run_sweeps(["strength"], plan, root=project)
    assert len(trained) == len(set(trained)) == 3  # the baseline has no strength: one run for both points
    runs = pd.read_csv(project / RESULTS / "strength" / "runs.csv")
    assert len(runs) == 4 and runs["run"].nunique() == 3


def _interrupt():
    raise KeyboardInterrupt


def test_a_run_that_another_process_is_at_comes_last(project, trained, monkeypatch):
    plan = plan_of(project, tau=TAU)
    first, second = sweep_runs(plan, "tau", root=project)
    work = folder_of(first, project).parent / "work" / first.name
    work.parent.mkdir(parents=True)
    lock = FileLock(work.with_suffix(".lock"))
    lock.acquire()
    train = run.train_row
    monkeypatch.setattr(run, "train_row", lambda *a, **k: (train(*a, **k), lock.release()))
    run_sweeps(["tau"], plan, root=project)
    assert trained == [second.name, first.name]


def test_runs_are_the_same_if_what_decides_them_is(project):
    plan = plan_of(project, tau=TAU, strength=STRENGTH)
    plain, hot = sweep_runs(plan, "tau", root=project)
    assert plain.name != hot.name and hot.config.contrast.tau == 0.5
    names = {(r.row, r.point): r.name for r in sweep_runs(plan, "strength", root=project)}
    assert names["baseline", "0.1"] == names["baseline", "0.3"]
    assert names["mask", "0.1"] != names["mask", "0.3"]
    longer = msgspec.structs.replace(plan, common={"train.epochs": 2})
    assert sweep_runs(longer, "tau", root=project)[0].name != plain.name
    (project / "handdgcl").unlink()
    shutil.copytree(ROOT / "handdgcl", project / "handdgcl")
    assert sweep_runs(plan, "tau", root=project)[0].name == plain.name
    losses = project / "handdgcl" / "model" / "losses.py"
    losses.write_text(losses.read_text() + "# another loss\n")
    assert sweep_runs(plan, "tau", root=project)[0].name != plain.name


def test_other_measuring_code_measures_again_and_trains_nothing(project, trained, monkeypatch):
    plan = plan_of(project, tau=TAU)
    run_sweeps(["tau"], plan, root=project)
    before = samples_file(sweep_runs(plan, "tau", root=project)[0], project)
    monkeypatch.setattr(run, "digest_of", lambda paths: "another")
    run_sweeps(["tau"], plan, root=project)
    after = before.with_name("samples-another.csv")
    assert after.read_bytes() == before.read_bytes() and len(trained) == 2


def test_errors_are_of_the_validation_split_and_by_formula(project, trained, tiny_store):
    plan = plan_of(project, tau=TAU)
    run_sweeps(["tau"], plan, root=project)
    folder = folder_of(sweep_runs(plan, "tau", root=project)[0], project)
    table = validation_samples(folder / "checkpoint.ckpt", tiny_store)
    val = open_store(tiny_store / "val")
    assert list(table.columns) == ["index", "subject", *ERRORS] and list(table["subject"]) == [1] * len(val)
    network, hands, _, info = load_model(folder / "checkpoint.ckpt")
    batch = finish(next(iter(eval_batches(val, batch_size=len(val), workers=0))), hands)
    with torch.inference_mode():
        output = network(batch.image)
    length = lambda joints: (joints[:, :, 9] - joints[:, :, 0]).norm(dim=-1)
    scale = 1000 * (length(hands.joints(output.metric_vertices())) - length(batch.joints)).abs().mean(1)
    assert np.allclose(table["scale_mm"], scale, rtol=1e-3)
    unit = hands.joints(output.vertices)
    seen = output.camera[..., None, :1] * unit[..., :2] + output.camera[..., None, 1:]
    pixel = (seen - batch.joints_2d).norm(dim=-1).mean((1, 2))
    assert np.allclose(table["pixel_px"], pixel, rtol=1e-3)
    assert table["mpjpe_mm"].mean() == pytest.approx(info["val_mpjpe_mm"], rel=1e-3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"base": "0.1"}, "sweeps.tau: no point '0.1'; it has 0.07, 0.5"),
        ({"rulings": {"R2": ["dot"]}}, "no point 'dot'"),
        ({"rows": ["best"]}, "row 'best': there is none"),
        ({"point": "0.1"}, "unknown field `point`"),
        ({"points": {"0.07": {"contrast.heat": 1}}}, "no parameter 'contrast.heat'"),
        ({"points": {"0.07": {"contrast.tau": 0}}}, r"sweeps\.tau\.points\.0\.07: .*contrast\.tau"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(project, spoil, message):
    with pytest.raises(InputError, match=message):
        sweep_runs(plan_of(project, tau=TAU | spoil), "tau", root=project)


def test_the_committed_sweeps_change_what_they_say_from_the_profile_as_it_is():
    plan = load_plan(FILE)
    base = base_config(plan, ROOT)
    default = load_config(ROOT / "params.yaml")
    if default.profile == plan.profile:
        short = msgspec.structs.replace(default.train, epochs=base.train.epochs)
        assert base == msgspec.structs.replace(default, profile="sweeps", train=short)
    for name, sweep in plan.sweeps.items():
        for key, value in sweep.points[sweep.base].items():
            section, inner = key.split(".")
            known = [to_dict(config)[section][inner] for config in (base, default)]
            # A sweep at full length takes back what all others shorten.
            assert value in (known if key in plan.common else known[:1]), f"{name}: not the profile's {key}"
        assert set(sweep.rows) <= set(ROWS)


def test_stages_list_what_training_and_measuring_read():
    study = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["similarity"]["deps"]
    stage = yaml.safe_load((FILE.parent / "dvc.yaml").read_text())["stages"]["sweep"]["do"]
    assert {path for path in study if path.startswith("handdgcl/")} <= set(stage["deps"])
    measuring = {f"handdgcl/evaluate/{name}.py" for name in ("run", "checkpoint")}
    assert measuring <= set(stage["deps"]) and "handdgcl/sweeps" in stage["deps"]
    assert "outs" not in stage, "the study would depend on all sweeps"
    listed = next(value for key, value in stage["params"][0].items() if key.endswith("sweeps.yaml"))
    assert set(listed) == {"profile", "common", "seeds", "sweeps.${key}"}
