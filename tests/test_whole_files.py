import errno
import json
import shutil
from pathlib import Path

import pytest

import handdgcl
from handdgcl.files import InputError, code_digest, read_json, replacing, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new" / "table.csv"
    with replacing(target) as path:
        path.write_text("old")
        assert path.suffix == ".csv" and not target.exists()
    with pytest.raises(KeyboardInterrupt), replacing(target) as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["table.csv"]


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(InputError, match=r"table\.csv.*No space left"), replacing(target) as path:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_json_is_read_as_written_and_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"mpjpe_mm": float("nan")})
    record = {"mpjpe_mm": 1.5, "title": "DGCLNet ÷ baseline, λ"}
    write_json(tmp_path / "b.json", record)
    assert read_json(tmp_path / "b.json") == record == json.loads((tmp_path / "b.json").read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]


@pytest.mark.parametrize("content", [None, b"", b'{"half": ', b"\xff\xfe"])
def test_json_that_cannot_be_read_is_one_clear_error(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.json"):
        read_json(path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of this package, which `code_digest` reads instead."""
    source = Path(handdgcl.__file__).parent
    copy = tmp_path / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.npz", "*.md", "*.j2"))
    monkeypatch.setattr("handdgcl.files._PACKAGE", copy)
    return copy


def test_a_digest_is_of_the_code_and_of_what_it_imports(package):
    module, distant = "handdgcl.train.module", package / "hands" / "topology.py"
    digest, text = code_digest(module), distant.read_text(encoding="utf-8")
    assert code_digest(module) == digest != code_digest("handdgcl.data.crop")
    for same in (f"# A comment.\n{text}", text.replace('"""', '"""Otherwise said. ', 1)):
        distant.write_text(same, encoding="utf-8")
        assert code_digest(module) == digest
    distant.write_text(f"{text}\nANOTHER = 1\n", encoding="utf-8")
    changed = code_digest(module)
    assert changed != digest
    distant.write_text(f"{text}\nANOTHER = 2\n", encoding="utf-8")
    assert code_digest(module) not in (digest, changed)


def test_a_digest_leaves_out_what_it_is_told_to(package):
    module, config = "handdgcl.train.module", package / "config.py"
    whole, without = code_digest(module), code_digest(module, leave_out=("handdgcl.config",))
    config.write_text(config.read_text(encoding="utf-8") + "\nANOTHER = 1\n", encoding="utf-8")
    assert code_digest(module) != whole
    assert code_digest(module, leave_out=("handdgcl.config",)) == without != whole
