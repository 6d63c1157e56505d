"""The sweeps' section of the page, as its template (sweeps.html.j2) takes it."""

from handdgcl.report.runs import describe
from handdgcl.report.sweep_text import effects_cells, rulings, sentences, untried
from handdgcl.report.sweeps import Sweeps


def sweep_section(sweeps: Sweeps) -> dict:
    """What sweeps.html.j2 shows: counts, origin, sentences and tables."""
    results, about = sweeps.results, [result.about for result in sweeps.results.values()]
    train = about[0]["parameters"]["train"]
    seeds = sorted({seed for result in results.values() for seed in result.runs["seed"]})
    machines = {describe(machine): None for part in about for machine in part["machines"]}
    return {
        "runs": len({run for result in results.values() for run in result.runs["run"]}),
        "common": f"{train['epochs']} epochs unless said otherwise",
        "seeds": ", ".join(map(str, seeds)),
        "commits": ", ".join(sorted({commit for part in about for commit in part["commits"]})),
        "machines": "; ".join(machines),
        "said": [
            {"title": result.sweep.title, "sentences": sentences(name, result, sweeps.effects)}
            for name, result in results.items()
        ],
        "rulings": rulings(sweeps),
        "untried": ", ".join(untried(sweeps)),
        "effects": effects_cells(sweeps.effects),
    }
