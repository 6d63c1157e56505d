"""How often the report's intervals hold the truth, and its verdicts are false, on tables made by chance.

`python tests/simulate_statistics.py` prints the full simulation (minutes); the tests run a small part.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from handdgcl.report.balance import of_terms
from handdgcl.report.differences import differences
from handdgcl.report.runs import MEAN_HAND, Run, read_runs
from handdgcl.report.statistics import Spread, half_width, spread
from handdgcl.report.sweeps import MEASURES, TASKS, TERMS, Result, Sweeps, effects
from handdgcl.report.tables import BEST
from handdgcl.report.verdicts import CONTRADICTED, SUPPORTED, verdicts
from handdgcl.rows import ROWS
from handdgcl.sweeps.plan import Sweep

STUDY, SWEEP = (5, 20, 50), (3, 10, 50)  # seeds, subjects, samples of each subject
# Standard deviations of seed, subject, seed x subject and sample, mm. The last one is what the
# committed run looks like: its seeds differ by hardly more than their samples let expect.
WORLDS = {
    "all alike": (0.3, 0.3, 0.3, 4.0),
    "seeds differ most": (1.0, 0.2, 0.2, 4.0),
    "subjects differ most": (0.2, 1.0, 0.2, 4.0),
    "both differ a lot": (1.0, 1.0, 0.2, 4.0),
    "as committed": (0.1, 0.2, 0.4, 3.1),
}
TRUTH = 0.4


def draw(
    world: tuple[float, ...], rng: np.random.Generator, count: int, design: tuple[int, int, int] = STUDY
) -> tuple[np.ndarray, np.ndarray]:
    """Differences `[count, S, n]` around `TRUTH`, heavy-tailed within a subject, and their clusters `[n]`."""
    seed, subject, both, sample = world
    seeds, subjects, samples = design
    normal = lambda sd, *shape: rng.normal(0, sd, (count, *shape))
    cells = normal(seed, seeds, 1) + normal(subject, 1, subjects) + normal(both, seeds, subjects)
    noise = sample * rng.standard_t(5, (count, seeds, subjects * samples)) / np.sqrt(5 / 3)
    return TRUTH + cells.repeat(samples, -1) + noise, np.arange(subjects).repeat(samples)


def in_parts(
    world: tuple[float, ...], rng: np.random.Generator, count: int, design: tuple[int, int, int] = STUDY
) -> Spread:
    """The spreads of `count` tables, drawn in parts that fit into memory."""
    parts = [spread(*draw(world, rng, min(200, count - k), design)) for k in range(0, count, 200)]
    names = ("mean", "seeds", "clusters", "interaction")
    return Spread(*(np.concatenate([getattr(p, n) for p in parts]) for n in names), parts[0].counts)


def coverage(known: Spread) -> float:
    """The share of intervals that hold the truth."""
    return float((np.abs(known.mean - TRUTH) <= half_width(known)).mean())


def bootstrap_coverage(
    world: tuple[float, ...], rng: np.random.Generator, count: int, design: tuple[int, int, int] = STUDY
) -> float:
    """The same for the percentile interval of a bootstrap over seeds, then subjects, which we do not use."""
    held = 0
    for _ in range(count):
        cells = draw(world, rng, 1, design)[0][0].reshape(design).mean(-1)
        seeds, subjects = (rng.integers(n, size=(1000, n)) for n in design[:2])
        means = cells[seeds[:, :, None], subjects[:, None]].mean((1, 2))
        low, high = np.quantile(means, [0.025, 0.975])
        held += low <= TRUTH <= high
    return held / count


def made_runs(rng: np.random.Generator, *, shift: dict[str, float] | None = None) -> list[Run]:
    """All rows and seeds on 60 images of 10 subjects; `shift` is what a row's error has more, mm."""
    subject = np.arange(60) // 6
    level, runs = 20 + rng.normal(0, 2, 10)[subject] + rng.normal(0, 3, 60), []
    for row in ROWS:
        of_row = (shift or {}).get(row, 0) + rng.normal(0, 0.1, 10)[subject]
        for seed in range(STUDY[0]):
            error = level + of_row + rng.normal(0, 0.1) + rng.normal(0, 0.8, 60)
            samples = pd.DataFrame({"index": range(60), "subject": subject, "mpjpe_mm": error})
            samples = samples.assign(mpvpe_mm=error + 1, mask_iou=0.9 - error / 100)
            curve = error.mean() + np.array([8, 3, 0]) + rng.normal(0, 0.1, 3)
            curves = pd.DataFrame({"epoch": range(1, 4), "val_mpjpe_mm": curve})
            runs.append(Run(row, seed, {}, {}, samples, curves, pd.DataFrame(), {}))
    return runs


def permuted(runs: list[Run], rng: np.random.Generator) -> list[Run]:
    """The same runs with the rows' names exchanged at random within each seed."""
    names = {
        seed: dict(zip(ROWS, rng.permutation(list(ROWS)), strict=True)) for seed in {r.seed for r in runs}
    }
    return [dataclasses.replace(r, row=str(names[r.seed][r.row])) for r in runs if r.row != MEAN_HAND]


def left_out_terms(rng: np.random.Generator, *, shift: dict[str, float] | None = None) -> Sweeps:
    """A sweep of the loss's terms with three seeds on 60 images of 10 subjects.

    Args:
        rng: random numbers.
        shift: what leaving out a term adds to the error that it is there for, mm or px.
    """
    subject = np.arange(60) // 6
    level, runs, samples = 20 + rng.normal(0, 3, 60), [], []
    for point in ("all terms", *TASKS):
        of_point = rng.normal(0, 0.1, 10)[subject] if point in TASKS else 0
        for seed in range(SWEEP[0]):
            runs.append({"row": BEST, "point": point, "seed": seed, "run": f"{point}-{seed}"})
            table = pd.DataFrame({"run": runs[-1]["run"], "index": range(60), "subject": subject})
            for error in MEASURES:
                more = (shift or {}).get(point, 0) * (TASKS.get(point) == error)
                table[error] = level + of_point + more + rng.normal(0, 0.1) + rng.normal(0, 0.8, 60)
            samples.append(table)
    sweep = Sweep("", "all terms", {point: {} for point in ("all terms", *TASKS)})
    results = {TERMS: Result(sweep, pd.DataFrame(runs), pd.concat(samples), {})}
    return Sweeps(results, effects(results))


def share_of_sweeps(rng: np.random.Generator, count: int) -> tuple[float, float]:
    """The shares of sweeps without any effect that support C8, and that support or contradict it."""
    found = np.zeros((count, 2))
    for k in range(count):
        verdict = of_terms(left_out_terms(rng).effects)["verdict"]
        found[k] = verdict == SUPPORTED, verdict in (SUPPORTED, CONTRADICTED)
    return tuple(found.mean(0))


def share_of_pages(draw_runs: Callable[[], list[Run]], count: int) -> tuple[float, float]:
    """The shares of pages with at least one claim supported, and with one supported or contradicted."""
    found = np.zeros((count, 2))
    for k in range(count):
        runs = draw_runs()
        verdict = set(verdicts(runs, differences(runs))["verdict"])
        found[k] = SUPPORTED in verdict, bool({SUPPORTED, CONTRADICTED} & verdict)
    return tuple(found.mean(0))


if __name__ == "__main__":
    for design in (STUDY, SWEEP):
        print(f"{design[0]} seeds, {design[1]} subjects")
        print("world                  report  bootstrap   (5000 and 1000 tables, 95 % asked)")
        for name, world in WORLDS.items():
            rng = np.random.default_rng(0)
            ours = coverage(in_parts(world, rng, 5000, design))
            print(f"{name:22} {ours:7.1%} {bootstrap_coverage(world, rng, 1000, design):10.1%}")
    committed = read_runs(Path(__file__).parents[1] / "reports" / "default" / "rows")
    rng = np.random.default_rng(0)
    for name, count, made in (
        ("rows alike", 400, lambda: made_runs(rng)),
        ("the committed rows, names permuted", 100, lambda: permuted(committed, rng)),
    ):
        supported, decided = share_of_pages(made, count)
        print(f"{name}: {supported:.1%} of {count} pages support a claim, {decided:.1%} decide one")
    supported, decided = share_of_sweeps(np.random.default_rng(0), 400)
    print(f"no term matters: {supported:.1%} of 400 sweeps support C8, {decided:.1%} decide it")
