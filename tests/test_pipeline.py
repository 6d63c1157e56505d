"""What ties the parts together: stages, profiles, notebooks, environment, README."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import compose_and_dump

from handdgcl.config import load_config
from handdgcl.project import project_root
from handdgcl.rows import ROWS, parameters

ROOT = project_root(__file__)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "conf" / "profile").glob("*.yaml"))
# Modules that cannot change what a stage leaves: they name, write, log or refuse.
NEUTRAL = {"atomic", "config", "errors", "project", "provenance", "tracking"}


@pytest.fixture(scope="module")
def stages():
    """name -> stage, without the profile: "egd-mask-0"."""
    with Repo(str(ROOT)) as repo:
        study = [stage for stage in repo.index.stages if Path(stage.path) == ROOT / "dvc.yaml"]
        return {re.sub(r"@[a-z]+", "", stage.name): stage for stage in study}


def deps(stage):
    return {dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"}


def keys(stage):
    return {key for dep in stage.deps if dep.def_path == "params.yaml" for key in dep.params}


def row_of(name):
    return ROWS.get(name.removeprefix("egd-").rsplit("-", 1)[0])


def imported(module):
    """The modules of this package that one imports, directly or not, as dotted names."""
    found, queue = set(), [module]
    while queue:
        name = queue.pop()
        path = ROOT / "handdgcl" / f"{name.replace('.', '/')}.py"
        path = path if path.exists() else path.with_suffix("") / "__init__.py"
        if name in found or not path.exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("handdgcl"):
                base = node.module.removeprefix("handdgcl").strip(".")
                queue += [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
    return {name for name in found if name}


def test_stages_read_what_exists(stages):
    parameters_file = yaml.safe_load((ROOT / "params.yaml").read_text())
    made = {out.def_path for stage in stages.values() for out in stage.outs}
    for name, stage in stages.items():
        for path in deps(stage):
            inside = any(
                path == out or path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in made
            )
            assert inside or (ROOT / path).exists(), f"{name}: {path}"
        for key in keys(stage):
            section, _, inner = key.partition(".")
            assert section in parameters_file, f"{name}: {key}"
            assert not inner or inner in parameters_file[section], f"{name}: {key}"


def test_each_row_and_seed_has_a_stage_with_its_own_parameters(stages):
    seeds = load_config(ROOT / "params.yaml").seeds
    trained = {name: row_of(name) for name in stages if row_of(name)}
    assert len(trained) == len(ROWS) * len(seeds)
    for name, row in trained.items():
        assert keys(stages[name]) == set(parameters(row)), name


def test_a_weight_concerns_the_rows_that_use_it():
    users = {
        key: {name for name, row in ROWS.items() if key in parameters(row)}
        for key in ("loss.contrast", "loss.consistent", "loss.cross", "loss.joints_3d", "disturb.edge")
    }
    assert users["loss.contrast"] == set(ROWS) - {"baseline"}
    assert users["loss.cross"] == {"similarity"}
    assert users["loss.consistent"] == {"dgclnet", "similarity"}
    assert users["loss.joints_3d"] == set(ROWS)
    assert users["disturb.edge"] == {"edge"}


@pytest.mark.parametrize(
    ("name", "module", "unused"),
    [
        ("baseline-0", "train", {"model.contrast", "model.disturb", "model.unet"}),
        ("egd-mask-0", "train", {"model.unet"}),
        ("dgclnet-0", "train", set()),
        ("similarity-0", "train", set()),
        ("data", "data.source", set()),
        ("data", "data.prepare", {"data.batch"}),  # what is made of a store comes later
    ],
)
def test_stages_depend_on_the_modules_they_run(stages, name, module, unused):
    listed = {
        path.removeprefix("handdgcl/").removesuffix(".py").replace("/", ".") for path in deps(stages[name])
    }
    for used in imported(module) - unused - NEUTRAL:
        package = (ROOT / "handdgcl" / used.replace(".", "/")).is_dir()
        covered = any(used == path or used.startswith(f"{path}.") for path in listed)
        assert covered or (package and used not in listed), (
            f"{name} runs {used}, which dvc.yaml does not list"
        )
    assert not {path for path in listed if path.startswith("report")}, "a new figure would train again"
    assert not unused & listed


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_compose(profile, tmp_path):
    composed = tmp_path / "params.yaml"
    overrides = [f"profile={profile}"]
    compose_and_dump(composed, str(ROOT / "conf"), None, "config", str(ROOT), overrides)
    assert load_config(composed).profile == profile
    committed = ROOT / "params.yaml"
    if load_config(committed).profile == profile:
        assert committed.read_text() == composed.read_text(), "params.yaml is not what conf/ says"


def test_smoke_leaves_no_committed_results(tmp_path):
    composed = tmp_path / "params.yaml"
    compose_and_dump(composed, str(ROOT / "conf"), None, "config", str(ROOT), ["profile=smoke"])
    assert load_config(composed).reports.startswith("runs/")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_as_lessons(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), (
        "strip the outputs"
    )
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
    assert max(len(cell["source"]) for cell in code) <= 30
    assert any("paper" in "".join(cell["source"]) for cell in cells)


def test_environment_is_one():
    """pyproject's pins and environment.yml say what the lock says."""
    pin = re.compile(r'^\s*"?([A-Za-z0-9._-]+)==([^"\s,]+)', re.MULTILINE)
    name = lambda text: re.sub(r"[-_.]+", "-", text).lower()
    lock = {name(n): v for n, v in pin.findall((ROOT / "requirements.lock").read_text())}
    wanted = pin.findall((ROOT / "pyproject.toml").read_text())
    assert len(wanted) > 20
    assert {n: lock.get(name(n)) for n, _ in wanted} == dict(wanted)
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert {"pip": ["-r requirements.lock"]} in environment
    assert not re.search(r"https?://|--|\+cpu", (ROOT / "requirements.lock").read_text())


def test_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
