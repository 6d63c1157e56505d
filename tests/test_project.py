from pathlib import Path

import pytest

from handdgcl.files import InputError
from handdgcl.project import Project, enter_project, project_root

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


def test_rows_seeds_and_profiles_do_not_share_folders(tiny_config):
    project = Project(tiny_config)
    folders = {
        kind(row, seed)
        for kind in (project.row, project.work, project.results)
        for row in ("mask", "edge")
        for seed in (0, 1)
    }
    assert len(folders) == 12
    # DVC deletes what it keeps before a stage runs; scratch must not be inside.
    assert project.row("mask", 0) not in project.work("mask", 0).parents
