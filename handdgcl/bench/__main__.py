"""`python -m handdgcl.bench`: measure, show a table and leave it in reports/bench/."""

import argparse
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# What each name on the command line measures: a module's function, imported when its turn comes, so that
# the processes that the generator starts need not have all of them.
MODEL_GROUPS = {
    "step": "steps:large_steps",
    "mode": "steps:modes",
    "small": "steps:small_steps",
    "inference": "passes:inference",
    "evaluation": "passes:evaluation",
    "waiting": "feeding:waiting",
    "memory": "memory:memory",
    "growth": "scaling:training",
    "data": "feeding:data",
}
DATA_GROUPS = {
    "preparation": "making:preparation",
    "generator": "making:generator",
    "annotations": "reading:reading",
    "samples": "scaling:preparation",
}
GROUPS = MODEL_GROUPS | DATA_GROUPS
ESTIMATE = "estimate"  # computed, so no figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    from handdgcl.bench.estimate import write_estimate
    from handdgcl.bench.growth import write_growth
    from handdgcl.bench.results import line, write_results
    from handdgcl.project import project_root

    os.chdir(project_root())
    start, figures, text = time.monotonic(), [], ""
    with tempfile.TemporaryDirectory(prefix="handdgcl-bench-") as folder:
        for figure in measure(options, Path(folder)):
            figures.append(figure)
            print(f"{time.monotonic() - start:4.0f} s {line(figure)}", flush=True)
            text = write_results(options.out, figures, seconds=time.monotonic() - start, arguments=arguments)
        write_growth(options.out, figures)
        if ESTIMATE in options.only:
            text += f"\n\n{write_estimate(options.out, Path(folder))}"
    print(f"\n{text}\n\n{options.out}", flush=True)


def measure(options: argparse.Namespace, folder: Path) -> Iterator:
    """The figures asked for, one by one; models on the CPU and then on CUDA where there is one.

    Args:
        options: of the command line.
        folder: scratch.
    """
    import torch

    from handdgcl.bench.bench import LARGE, SMALL, Bench, profile
    from handdgcl.config import load_config
    from handdgcl.hands import load_hands
    from handdgcl.project import show_progress

    parameters = {name: profile(name, folder) for name in (LARGE, SMALL)}
    large, small = (load_config(path) for path in parameters.values())
    hands = load_hands(large.data.hands)
    bench = Bench(large, small, parameters[LARGE], hands, folder, options.rounds, options.images)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        bench.device = torch.device(device)
        for name in options.only:
            if name in MODEL_GROUPS or (name in DATA_GROUPS and device == "cpu"):
                print(f"measuring {name} on {device}", flush=True)
                group = pkgutil.resolve_name(f"handdgcl.bench.{GROUPS[name]}")
                show_progress()  # after the import: Lightning's own sets another level
                yield from group(bench)


def _parser() -> argparse.ArgumentParser:
    from handdgcl.bench.annotation_files import TRAIN_IMAGES

    parser = argparse.ArgumentParser(prog="python -m handdgcl.bench", description=__doc__)
    every = [*GROUPS, ESTIMATE]
    parser.add_argument("--only", nargs="+", choices=every, default=every, help="default: all")
    parser.add_argument("--rounds", type=int, help="of every figure; default: each figure's own number")
    parser.add_argument(
        "--images", type=int, default=TRAIN_IMAGES, help="in the annotation files; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=Path("reports/bench"), help="folder of the results")
    return parser


if __name__ == "__main__":
    main()
