import errno
import json

import pytest

from handdgcl.files import InputError, replacing, write_json


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
    with pytest.raises(InputError, match=r"table\.csv.*No space left.*free space"), replacing(target) as path:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_json_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"mpjpe_mm": float("nan")})
    write_json(tmp_path / "b.json", {"mpjpe_mm": 1.5})
    assert json.loads((tmp_path / "b.json").read_text()) == {"mpjpe_mm": 1.5}
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]
