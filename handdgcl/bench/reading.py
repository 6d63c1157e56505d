"""Reading annotation files as large as InterHand2.6M's, in a process of its own."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from handdgcl.bench.annotation_files import write_annotations
from handdgcl.bench.bench import Bench
from handdgcl.bench.measure import BYTES_PER_GB, Figure, resident_bytes, run_python
from handdgcl.data.interhand import read_split

SECONDS_BAR, GB_BAR = 600.0, 6.0
SPLIT = "train"


def reading(bench: Bench) -> Iterator[Figure]:
    """Seconds and memory from the files to the selection; the files were just written, so no disk is read."""
    folder = bench.folder / "annotations-only"
    written = write_annotations(folder, SPLIT, bench.images)
    found = [run_python("handdgcl.bench.reading", folder) for _ in range(bench.turns(1))]
    shutil.rmtree(folder)
    about = {"images": bench.images, "file_gigabytes": written / BYTES_PER_GB, "kept": found[0]["kept"]}
    seconds = [record["seconds"] for record in found]
    peak = [record["peak"] / BYTES_PER_GB for record in found]
    title = f"reading annotations of {bench.images:,} images"
    yield Figure(title, seconds, unit="s", bar=SECONDS_BAR, about=about)
    yield Figure(f"{title}, peak memory", peak, unit="GB", bar=GB_BAR, about=about)


def main(folder: str) -> None:
    """Read once; seconds, peak bytes and samples kept, as JSON."""
    start = time.perf_counter()
    selection = read_split(Path(folder), SPLIT, progress=False)
    record = {"seconds": time.perf_counter() - start, "peak": resident_bytes()[1], "kept": len(selection)}
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
