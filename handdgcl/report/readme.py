"""What README says of the studies: their tables, written between its marks."""

from pathlib import Path

import pandas as pd

from handdgcl.files import InputError, read_json, write_file
from handdgcl.report.results import BASELINE, BEST, DGCLNET, row_title
from handdgcl.rows import MEAN_HAND

# Whose tables are kept, in the order they were planned.
STUDIES = "default", "long", "few", "hard", "large", "families"


def studies(reports: Path) -> pd.DataFrame:
    """What the kept studies found, side by side, as text: a line for each finding, a column for each study.

    Args:
        reports: holds a folder for each study; those that are not there are left out.
    """
    found = {}
    for name in STUDIES:
        if not (tables := reports / name / "tables").is_dir():
            continue
        errors = pd.read_csv(tables / "table2.csv").set_index("row")
        lines = pd.read_csv(tables / "statistics.csv").query("measure == 'mpjpe'").set_index(["row", "minus"])
        claims = pd.read_csv(tables / "claims.csv")
        run = read_json(min((reports / name / "rows").glob(f"{BASELINE}-*")) / "metrics.json")["parameters"]
        images, mean = run["generate"]["images"]["train"], errors["mpjpe_mm"].map("{:.2f}".format)
        column = {"training images, epochs": f"{images:,}, {run['train']['epochs']}"}
        column["seeds"] = f"{errors.at[BASELINE, 'seeds']:.0f}"
        column["baseline's MPJPE (mean hand's), mm"] = f"{mean[BASELINE]} ({mean[MEAN_HAND]})"
        for row in (DGCLNET, BEST):
            line = lines.loc[(row, BASELINE)]
            shares = 100 * line[["difference", "low", "high"]].astype(float) / line["reference"]
            paper = 100 * line["paper_difference"] / line["paper_reference"]
            title = f"{row_title(row)} minus baseline, % of it (95 %); the paper: {paper:.1f}"
            column[title] = "{:+z.1f} ({:+z.1f} to {:+z.1f})".format(*shares).replace(" (+nan to +nan)", "")
        column |= dict(zip(claims["claim"] + ". " + claims["statement"], claims["verdict"], strict=True))
        found[f"[{name}]({reports}/{name}/index.html)"] = column
    return pd.DataFrame(found).rename_axis("on rendered hands").reset_index()


def fill_readme(path: Path, mark: str, *parts: str) -> None:
    """Replace what stands between README.md's comments `mark` and `end of mark` by paragraphs of Markdown.

    Raises:
        InputError: a comment is missing.
    """
    begin, end = f"<!-- {mark}: written by notebooks/06_tables.ipynb -->", f"<!-- end of {mark} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise InputError(f"{path}: the markers of a table are gone; put {begin!r} and {end!r} back")
    write_file(path, "\n".join([before + begin, "\n\n".join(parts), end + after]))
