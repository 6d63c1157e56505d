from pathlib import Path

import pytest

from handdgcl.files import InputError
from handdgcl.project import BAD_INPUT, Project, enter_project, in_one_line, project_root

ROOT = Path(__file__).parents[1]


def test_the_root_is_found_from_any_folder_below():
    assert project_root(ROOT / "handdgcl" / "data") == project_root(ROOT) == ROOT


def test_outside_a_project_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"dvc\.yaml"):
        project_root(tmp_path)


def test_a_notebook_sees_the_root_and_its_parameters(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    project = enter_project()
    assert Path.cwd() == ROOT
    assert Path("dvc.yaml").exists()
    assert project.config.profile in str(project.runs)


def test_runs_do_not_share_folders_and_scratch_lies_beside_what_dvc_keeps(tiny_config):
    project, by_hand = Project(tiny_config), Project(tiny_config, scratch=True)
    kinds = (
        project.row,
        project.results,
        lambda *run: project.scratch_row(*run, "a"),
        lambda *run: project.work(*run, "a"),
    )
    folders = {kind(row, seed) for kind in kinds for row in ("mask", "edge") for seed in (0, 1)}
    assert len(folders) == 16
    for mine in (by_hand.scratch_row("mask", 0, "a"), by_hand.work("mask", 0, "a"), by_hand.reports):
        assert project.runs / "rows" not in mine.parents and project.reports not in (mine, *mine.parents)


@pytest.mark.parametrize("link", ["runs", "runs/default/data", "runs/default/rows"])
def test_folders_that_dvc_would_refuse_after_the_work_are_refused_before_it(tmp_path, monkeypatch, link):
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path.parent)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{link}: a link"):
        enter_project()
    enter_project(scratch=True)


def test_bad_input_ends_a_program_in_one_line(capsys):
    with pytest.raises(SystemExit) as stop, in_one_line():
        raise InputError("params.yaml: no such file;\n  make one")
    assert stop.value.code == BAD_INPUT
    assert capsys.readouterr().err == "handdgcl: params.yaml: no such file; make one\n"
