"""The sweeps' section of the page, as its template (sweeps.html.j2) takes it."""

from handdgcl.report.runs import describe
from handdgcl.report.sweep_text import effects_cells, rulings, sentences, untried
from handdgcl.report.sweeps import Sweeps

TOLD = "train.epochs"  # by how much all sweeps are shorter than the study, which the section's head says


def sweep_section(sweeps: Sweeps, parameters: dict) -> dict:
    """What sweeps.html.j2 shows: counts, origin, sentences and tables.

    Args:
        sweeps: of `read_sweeps`.
        parameters: of the study, by section.
    """
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
            {
                "title": result.sweep.title,
                "sentences": sentences(name, result, sweeps.effects),
                "others": ", ".join(other_parameters(result.about["parameters"], parameters)),
            }
            for name, result in results.items()
        ],
        "rulings": rulings(sweeps),
        "untried": ", ".join(untried(sweeps)),
        "effects": effects_cells(sweeps.effects),
    }


def other_parameters(swept: dict, parameters: dict) -> list[str]:
    """Where a sweep was run with other parameters than the study has now: "section.key value"."""
    return [
        f"{section}.{key} {value}"
        for section, values in swept.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if f"{section}.{key}" != TOLD and parameters.get(section, {}).get(key) != value
    ]
