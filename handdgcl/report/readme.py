"""The results in README.md, between its two markers: computed, never typed."""

from pathlib import Path

import pandas as pd

from handdgcl.atomic import replacing
from handdgcl.errors import InputError
from handdgcl.report.cells import signed

BEGIN, END = "<!-- results: written by notebooks/06_tables.ipynb -->", "<!-- end of results -->"


def fill_readme(path: Path, table: pd.DataFrame, note: str, answers: pd.DataFrame) -> None:
    """Replace what stands between the markers by Table 2, a line under it and the verdicts.

    Args:
        path: README.md.
        table: of `tables.table_2`.
        note: data, hardware, seeds and commit of the run.
        answers: of `verdicts.verdicts`.

    Raises:
        InputError: a marker is missing.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{path}: the markers of the result table are gone; put {BEGIN!r} and {END!r} back")
    results = f"{markdown_table(table)}\n\n{note}\n\n{markdown_answers(answers)}"
    with replacing(path) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{results}\n{END}{after}")


def markdown_table(table: pd.DataFrame) -> str:
    """Table 2 in Markdown: the paper's millimetres, ours, and ours minus the baseline of the same seed."""
    lines = [
        "| row | paper MPJPE | paper MPVPE | ours MPJPE | ours MPVPE | MPJPE minus baseline |",
        "|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        cells = [row["title"], _number(row["paper_mpjpe_mm"]), _number(row["paper_mpvpe_mm"])]
        cells += [_spread(row, name) for name in ("mpjpe", "mpvpe")]
        cells.append(_spread(row, "mpjpe_difference", sign="+"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown_answers(answers: pd.DataFrame) -> str:
    """The paper's claims with our verdicts, and the difference least in each claim's favour."""
    lines = ["| the paper's claim | verdict | weakest difference, 95 % interval |", "|---|---|---|"]
    for answer in answers.itertuples():
        number = ""
        if pd.notna(answer.low):
            interval = f"{signed(answer.low, answer.unit)} to {signed(answer.high, answer.unit)}"
            number = f"{signed(answer.number, answer.unit)} {answer.unit}".strip() + f" ({interval})"
        lines.append(f"| {answer.claim}. {answer.statement} | {answer.verdict} | {number} |")
    return "\n".join(lines)


def _number(value: float, sign: str = "") -> str:
    return "" if pd.isna(value) else f"{value:{sign}.2f}"


def _spread(row: dict, name: str, sign: str = "") -> str:
    """Mean ± standard deviation over seeds; the mean alone for a single seed."""
    deviation = row[f"{name}_sd_mm"]
    return _number(row[f"{name}_mm"], sign) + ("" if pd.isna(deviation) else f" ± {deviation:.2f}")
