"""`make reproduce` ends with all that it started, whoever is signalled."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
# In place of DVC: a process that starts another and waits.
STANDS_FOR_DVC = f"""#!{sys.executable}
import subprocess, sys, time
if sys.argv[1:] == ["--version"]:
    sys.exit()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print("running", *sys.argv[1:], flush=True)
time.sleep(300)
"""


@pytest.fixture
def project(tmp_path):
    """The Makefile beside an environment whose dvc is the one above."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "dvc").write_text(STANDS_FOR_DVC)
    (binaries / "dvc").chmod(0o755)
    (binaries / "python").symlink_to(sys.executable)
    for name in ("Makefile", "params.yaml", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "installed").touch()
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"]
    for command in (["git", "init", "-q"], commit):
        subprocess.run(command, cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_ends_all_quietly(project, number, whole_group):
    broken = project / ".dvc" / "tmp" / "rwlock"  # as a kill may leave it
    broken.parent.mkdir(parents=True)
    broken.touch()
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    pipes = {"preexec_fn": heard, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(["make", "reproduce"], cwd=project, start_new_session=True, **pipes) as make:
        said = []
        while not said or not said[-1].startswith("running"):
            said.append(make.stdout.readline())
            assert said[-1], said
        assert not broken.exists()
        started = psutil.Process(make.pid).children(recursive=True)
        (os.killpg if whole_group else os.kill)(make.pid, number)
        rest = make.communicate(timeout=20)[0]
    assert rest.count("\n") <= 4 and make.returncode
    assert len(started) >= 3
    deadline = time.monotonic() + 10
    while any(process.is_running() and process.status() != "zombie" for process in started):
        assert time.monotonic() < deadline, [process.cmdline() for process in started if process.is_running()]
        time.sleep(0.1)


def without_git(folder):
    shutil.rmtree(folder / ".git")
    subprocess.run(["git", "init", "-q", folder.parent], check=True)  # a copy inside another repository


MISSING = {
    "Git": (without_git, "git init"),
    "folder": (lambda folder: (folder / "runs").symlink_to(folder.parent), "runs is a link"),
    "environment": (
        lambda folder: (folder / ".venv" / "bin" / "dvc").write_text("#!/moved/away/python\n"),
        "rm -r .venv",
    ),
}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_said_with_its_remedy(project, what):
    spoil, remedy = MISSING[what]
    spoil(project)
    made = subprocess.run(["make", "reproduce"], cwd=project, capture_output=True, text=True, timeout=60)
    assert made.returncode and remedy in made.stdout and "running" not in made.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_foreign_python_settings_and_locale_stay_outside(project):
    dvc = project / ".venv" / "bin" / "dvc"
    names = ("PYTHONPATH", "JUPYTER_PATH", "PYTHONUTF8")
    dvc.write_text(f"#!{sys.executable}\nimport os\nprint([os.environ.get(n) for n in {names}])\n")
    spoiled = os.environ | {"PYTHONPATH": "/elsewhere", "JUPYTER_PATH": "/elsewhere", "LC_ALL": "C"}
    made = subprocess.run(["make", "reproduce"], cwd=project, env=spoiled, capture_output=True, text=True)
    assert made.returncode == 0 and "[None, None, '1']" in made.stdout
