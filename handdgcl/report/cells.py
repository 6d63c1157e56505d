"""Tables as the page shows them: columns, and lines of text cells."""

from collections.abc import Collection

import pandas as pd
from pandas.api.types import is_numeric_dtype

from handdgcl.report.claims import MEASURES
from handdgcl.report.runs import pair_title, short_title
from handdgcl.report.tables import METRICS
from handdgcl.report.why import digits_of

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
SOURCE = "rows/*/samples.csv, columns mpjpe_mm and mpvpe_mm"
PAPER = "the paper's from its tables"


def table_1_cells(table: pd.DataFrame) -> dict:
    """Table 1 as cells."""
    columns = ["Method", "Source", "Data", "MPJPE, mm", "MPVPE, mm", "Seeds"]
    lines = []
    for line in table.to_dict("records"):
        values = [_spread(line[f"{m}_mm"], line[f"{m}_sd_mm"]) for m in METRICS]
        cells = [line["method"], line["source"], line["data"], *values, _count(line["seeds"])]
        ours = line["source"] == "measured"
        source = f"table1.csv, {'from ' + SOURCE if ours else PAPER}"
        lines.append({"cells": cells, "strong": ours, "source": source})
    return {"columns": columns, "groups": None, "text": (0, 1, 2), "lines": lines}


def table_2_cells(table: pd.DataFrame) -> dict:
    """Table 2 as cells."""
    per_metric = ["Paper", "Δ", "Ours", "Δ"]
    groups = [("", 1), ("MPJPE, mm", 4), ("MPVPE, mm", 4), ("", 1)]
    lines = []
    for line in table.to_dict("records"):
        cells = [line["title"]]
        for m in METRICS:
            cells += [
                _number(line[f"paper_{m}_mm"]),
                _number(line[f"paper_{m}_difference_mm"], sign="+"),
                _spread(line[f"{m}_mm"], line[f"{m}_sd_mm"]),
                _spread(line[f"{m}_difference_mm"], line[f"{m}_difference_sd_mm"], sign="+"),
            ]
        source = f"table2.csv; ours from {SOURCE}, rows/{line['row']}-*; {PAPER}"
        lines.append({"cells": [*cells, _count(line["seeds"])], "strong": False, "source": source})
    return {
        "columns": ["Row", *per_metric, *per_metric, "Seeds"],
        "groups": groups,
        "text": (0,),
        "lines": lines,
    }


def features_cells(table: pd.DataFrame) -> dict:
    """What is in the features: a line for each column of features.csv, a column for each row of Table 2."""
    rows = list(table["row"].unique())
    found = table.set_index(["measure", "row"])
    lines = []
    for measure in table["measure"].unique():
        cells = [measure]
        for row in rows:
            there = (measure, row) in found.index
            line = found.loc[(measure, row)] if there else None
            cells.append(_spread(line["mean"], line["sd"], digits=digits_of(measure)) if there else DASH)
        source = f"features.csv, from rows/*/features.csv, column {measure}"
        lines.append({"cells": cells, "strong": False, "source": source})
    titles = [short_title(row) for row in rows]
    return {"columns": ["Measure", *titles], "groups": None, "text": (0,), "lines": lines}


def claims_cells(table: pd.DataFrame, figures: Collection[str]) -> list[dict]:
    """The verdicts as lines of text: claim, statement, verdict, number, interval, figure, source, reading.

    Args:
        table: of `verdicts.verdicts`.
        figures: keys of the page's figures; others are not linked.
    """
    lines = []
    for line in table.to_dict("records"):
        unit = line["unit"]
        line["interval"] = _range(line["low"], line["high"], unit)
        line["number"] = DASH if pd.isna(line["number"]) else f"{signed(line['number'], unit)} {unit}".strip()
        line["source"] = "" if pd.isna(line["source"]) else line["source"]
        lines.append(line | {"figure": line["figure"] if line["figure"] in figures else ""})
    return lines


def differences_cells(table: pd.DataFrame) -> dict:
    """Paired differences as cells; each line's tooltip names file and column."""
    columns = [
        *("Difference", "Measure", "Claim", "Paper", "Ours", "95 % interval", "p", "p, Holm"),
        *("Effect size", "Detectable", "Seeds"),
    ]
    lines = []
    for line in table.to_dict("records"):
        measure, unit = MEASURES[line["measure"]], line["unit"]
        cells = [
            pair_title(line["row"], line["minus"]),
            f"{measure.title}, {unit}" if unit else measure.title,
            line["claim"],
            _number(line["paper_difference"], sign="+"),
            _number(line["difference"], sign="+", digits=digits(unit)),
            _range(line["low"], line["high"], unit),
            *(_number(line[p], digits=3) for p in ("p", "p_holm")),
            _number(line["effect_size"], sign="+"),
            _number(line["detectable"], digits=digits(unit)),
            _number(line["seeds_to_show"], digits=0),
        ]
        source = f"statistics.csv, from rows/*/{measure.file}, {measure.column}: {measure.rule}"
        lines.append({"cells": cells, "strong": False, "source": source})
    return {"columns": columns, "groups": None, "text": (1,), "lines": lines}


def plain_cells(table: pd.DataFrame) -> dict:
    """Any table as cells; what is not a number is set as text."""
    text = [k for k, kind in enumerate(table.dtypes) if not is_numeric_dtype(kind)]
    lines = [{"cells": list(line), "strong": False} for line in table.itertuples(index=False)]
    return {"columns": list(table.columns), "groups": None, "text": text, "lines": lines}


def digits(unit: str) -> int:
    """Decimals: two of a millimetre, three of a share."""
    return 3 if unit == "" else 2


def signed(value: float, unit: str) -> str:
    """A difference with its sign."""
    whole = unit == "weights"
    return f"{value:+.{0 if whole else digits(unit)}f}".replace("-", MINUS)


def _range(low: float, high: float, unit: str) -> str:
    """Both ends, or a dash."""
    return DASH if pd.isna(low) else f"{signed(low, unit)} … {signed(high, unit)}"


def _number(value: float, *, sign: str = "", digits: int = 2) -> str:
    """Two decimals, or a dash for what was not measured."""
    return DASH if pd.isna(value) else f"{value:{sign}.{digits}f}".replace("-", MINUS)


def _spread(value: float, deviation: float, *, sign: str = "", digits: int = 2) -> str:
    """Mean ± standard deviation, without the latter for one seed."""
    number = _number(value, sign=sign, digits=digits)
    return number if pd.isna(deviation) else f"{number} ± {_number(deviation, digits=digits)}"


def _count(value: float) -> str:
    return DASH if pd.isna(value) else str(int(value))
