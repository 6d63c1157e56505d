"""What ties the parts together: stages, profiles, notebooks, environment, README."""

import ast
import json
import re

import pytest
import yaml
from dvc.repo import Repo
from dvc.utils.hydra import compose_and_dump

from handdgcl.config import load_config
from handdgcl.project import project_root
from handdgcl.rows import TABLE_2

ROOT = project_root(__file__)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "conf" / "profile").glob("*.yaml"))
# Modules that cannot change an output: they name, write, log, or are in a run's identity by value.
NEUTRAL = {"config", "files", "project", "tracking"}


@pytest.fixture(scope="module")
def stages():
    """name -> stage, without the profile: "egd-mask"."""
    with Repo(str(ROOT), config={"core": {"no_scm": True}}) as repo:  # a copy without Git as well
        return {re.sub(r"@[a-z]+", "", stage.name): stage for stage in repo.index.stages}


def deps(stage):
    return {dep.def_path for dep in stage.deps}


def imported(module):
    """The modules of this package that one imports, directly or not, as dotted names."""
    found, queue = set(), [module]
    while queue:
        name = queue.pop()
        path = ROOT / "handdgcl" / f"{name.replace('.', '/')}.py"
        if name in found or not path.exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("handdgcl."):
                base = node.module.removeprefix("handdgcl.")
                queue += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def test_stages_read_what_exists(stages):
    made = {out.def_path for stage in stages.values() for out in stage.outs}
    for name, stage in stages.items():
        for path in deps(stage):
            inside = any(
                path == out or path.startswith(f"{out}/") or out.startswith(f"{path}/") for out in made
            )
            assert inside or (ROOT / path).exists(), f"{name}: {path}"


def test_each_row_of_table_2_has_its_lesson(stages):
    made = {out.def_path for stage in stages.values() for out in stage.outs}
    assert {f"runs/default/rows/{row}" for row in TABLE_2} <= made
    assert len(stages) == len(TABLE_2) + 3  # data, evaluate, tables


@pytest.mark.parametrize(
    ("names", "module"),
    [
        (["baseline", "egd-mask", "dgclnet", "similarity"], "train.run"),
        (["baseline", "egd-mask", "dgclnet", "similarity", "tables"], "report.pictures"),
        (["data"], "data.prepare"),
        (["evaluate"], "evaluate.run"),
    ],
)
def test_stages_depend_on_the_modules_they_run(stages, names, module):
    for name in names:
        listed = {path.removeprefix("handdgcl/").removesuffix(".py") for path in deps(stages[name])}
        for used in imported(module) - NEUTRAL:
            package = used.replace(".", "/")
            covered = any(package == path or package.startswith(f"{path}/") for path in listed)
            seen_through_runs = name == "tables" and package.startswith(
                ("model", "train", "data", "evaluate", "hands")
            )
            assert covered or seen_through_runs, f"{name} runs {used}, which dvc.yaml does not list"


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_compose(profile, tmp_path):
    composed = tmp_path / "params.yaml"
    compose_and_dump(composed, str(ROOT / "conf"), None, "config", str(ROOT), [f"profile={profile}"])
    assert load_config(composed).profile == profile
    assert profile != "smoke" or load_config(composed).reports.startswith("runs/")  # it leaves no results
    committed = ROOT / "params.yaml"
    if load_config(committed).profile == profile:
        assert committed.read_text() == composed.read_text(), "params.yaml is not what conf/ says"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_as_lessons(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    given = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    assert len(given) == 1 and "scratch = True" in "".join(given[0]["source"])
    for cell in code:
        lines = "".join(cell["source"]).splitlines()
        assert len(lines) <= 25, lines[0]
        ast.parse("\n".join(line for line in lines if not line.startswith("%")))


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


def test_links_lead_somewhere():
    for page in ("README.md", "reports/reading.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
