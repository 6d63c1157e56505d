"""The figures as a table and as JSON, with commit, machine and versions beside the numbers."""

import os
from pathlib import Path

from handdgcl import provenance
from handdgcl.atomic import replacing, write_json
from handdgcl.bench.measure import Figure

ALLOCATOR = "MALLOC_"  # how the names of glibc's settings begin; the Makefile exports them
HEAD = ("| figure | on | median | quartiles | bar | met |", "|---|---|---|---|---|---|")


def write_results(folder: Path, figures: list[Figure], *, seconds: float, arguments: list[str]) -> str:
    """Leave bench.json and bench.md.

    Args:
        folder: takes both.
        figures: all that this run measured.
        seconds: the run took.
        arguments: of the command.

    Returns:
        the table.
    """
    record = facts(seconds, arguments) | {"figures": [_as_record(figure) for figure in figures]}
    write_json(folder / "bench.json", record)
    text = table(figures)
    machine = record["machine"]
    about = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, accelerator "
        f"{machine['accelerator']}; commit {record['commit']}; torch {record['versions']['torch']}; "
        f"{seconds:.0f} s.\nMedians over rounds in which both sides took turns; sizes, seconds and every "
        "round: bench.json."
    )
    with replacing(folder / "bench.md") as path:
        path.write_text(f"{text}\n\n{about}\n")
    return text


def facts(seconds: float, arguments: list[str]) -> dict:
    """What the numbers depend on."""
    return {
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "allocator": {key: value for key, value in sorted(os.environ.items()) if key.startswith(ALLOCATOR)},
        "arguments": arguments,
        "seconds": seconds,
    }


def table(figures: list[Figure]) -> str:
    """Markdown: each figure's median and quartiles, its bar, and whether it is met."""
    return "\n".join([*HEAD, *(line(figure) for figure in figures)])


def line(figure: Figure) -> str:
    """One line of the table."""
    low, median, high = figure.quartiles()
    met = {True: "yes", False: "**no**", None: ""}[figure.met()]
    sign = "≥" if figure.at_least else "≤"
    bar = "" if figure.bar is None else f"{sign} {_number(figure.bar)}"
    value = f"{_number(median)} {figure.unit}".strip()
    cells = (figure.title, figure.device, value, f"{_number(low)} to {_number(high)}", bar, met)
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Four digits, so that a median just beyond its bar is seen to be."""
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def _as_record(figure: Figure) -> dict:
    low, median, high = figure.quartiles()
    return {
        "title": figure.title,
        "device": figure.device,
        "unit": figure.unit,
        "median": median,
        "quartiles": [low, high],
        "bar": figure.bar,
        "at_least": figure.at_least,
        "met": figure.met(),
        "rounds": figure.values,
        "about": figure.about,
    }
