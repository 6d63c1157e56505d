import pandas as pd
import pytest

from handdgcl.errors import InputError
from handdgcl.report.cells import MINUS
from handdgcl.report.readme import BEGIN, END, fill_readme, markdown_answers, markdown_table

TABLE = pd.DataFrame(
    {
        "title": ["Mean hand", "GCN baseline", "GCN + DGCLNet"],
        "paper_mpjpe_mm": [None, 9.97, 9.02],
        "paper_mpvpe_mm": [None, 10.63, 9.31],
        "mpjpe_mm": [44.9, 21.234, 20.0],
        "mpjpe_sd_mm": [None, 0.111, 0.2],
        "mpvpe_mm": [46.0, 22.0, 21.0],
        "mpvpe_sd_mm": [None, 0.1, 0.2],
        "mpjpe_difference_mm": [None, None, -1.234],
        "mpjpe_difference_sd_mm": [None, None, 0.05],
    }
)
ANSWERS = pd.DataFrame(
    {
        "claim": ["C2", "C7"],
        "statement": ["It helps.", "It costs nothing."],
        "verdict": ["undecided at this size", "supported"],
        "number": [-0.123, 0],
        "unit": ["mm", "weights"],
        "low": [-0.5, None],
        "high": [0.254, None],
    }
)


def test_a_verdict_has_its_interval_where_there_is_one():
    lines = markdown_answers(ANSWERS).replace(MINUS, "-").splitlines()
    assert lines[2] == "| C2. It helps. | undecided at this size | -0.12 mm (-0.50 to +0.25) |"
    assert lines[3] == "| C7. It costs nothing. | supported |  |"


def test_a_line_holds_the_paper_and_ours():
    lines = markdown_table(TABLE).splitlines()
    assert lines[2] == "| Mean hand |  |  | 44.90 | 46.00 |  |"
    assert lines[4] == "| GCN + DGCLNet | 9.02 | 9.31 | 20.00 ± 0.20 | 21.00 ± 0.20 | -1.23 ± 0.05 |"
    assert len({line.count("|") for line in lines}) == 1


def test_only_the_block_changes_and_twice_is_once(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    fill_readme(path, TABLE, "3 seeds.", ANSWERS)
    once = path.read_text()
    fill_readme(path, TABLE, "3 seeds.", ANSWERS)
    assert path.read_text() == once
    assert once.startswith("above\n")
    assert once.endswith("below\n")
    assert "21.23 ± 0.11" in once
    assert "old" not in once


def test_a_lost_marker_is_an_error_and_leaves_the_file(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"{BEGIN}\nno end\n")
    with pytest.raises(InputError, match="markers"):
        fill_readme(path, TABLE, "", ANSWERS)
    assert path.read_text() == f"{BEGIN}\nno end\n"
