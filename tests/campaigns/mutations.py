"""`python tests/campaigns/mutations.py [COUNT]`: damaged inputs of every kind, and what became of each.

Each input is a good file with one to three random changes, read by a process of its own with limited memory.
An answer is *error* (the one clear line of an InputError), *same* (read, and equal to the good file), *other*
(read, and different: a number turned into another number, which nothing can tell), and what must not be:
*traceback*, *crash*, *hang*, *executed*. The counts go to reports/reliability.
"""

import multiprocessing
import os
import pickle
import re
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from hand_files import licensed, open_hand, write_pickle
from layout import random_jpeg, settings, write_layout

from handdgcl import tracking
from handdgcl.config import load_config, to_dict
from handdgcl.data.interhand import read_split
from handdgcl.data.part import read_jpeg
from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store
from handdgcl.evaluate.handfile import read_hand_file
from handdgcl.files import InputError, read_json, write_json
from handdgcl.hands import load_hands
from handdgcl.hands.mano_files import read_model
from handdgcl.model.network import HandDGCL
from handdgcl.report.photograph import read_boxes, read_image
from handdgcl.train.checkpoint import read_checkpoint, write_checkpoint
from handdgcl.train.states import IDENTITY, LAST, WholeFiles, usable_state

ROOT = Path(__file__).parents[2]
OUT = ROOT / "reports" / "reliability"
PATIENCE_S, MEMORY = 60, 12 * 2**30
MARK = "executed"
NUMBERS = ("NaN", "1e300", "-1e39", "0", "null", '"x"', "[]", "1e-300", "99999999999999999999")
PLANTED = b"cbuiltins\nopen\n(S'executed'\nS'w'\ntR."


def changed(content: bytes, random: np.random.Generator, *, text: bool) -> bytes:
    """One to three changes."""
    for _ in range(random.integers(1, 4)):
        at, to = sorted(random.integers(0, len(content) + 1, 2).tolist())
        kind = random.choice(["bit", "cut", "twice", "zeros", "noise", "number", "plant", "without"])
        if kind == "bit":
            flipped = bytearray(content)
            flipped[random.integers(len(content))] ^= 1 << int(random.integers(8))
            content = bytes(flipped)
        elif kind == "number" and text:
            found = list(re.finditer(rb"-?\d+\.?\d*(e-?\d+)?", content))
            if found:
                place = found[random.integers(len(found))]
                content = content[: place.start()] + random.choice(NUMBERS).encode() + content[place.end() :]
        else:
            to = min(to, at + 200)
            middle = {
                "zeros": bytes(to - at),
                "noise": random.bytes(to - at),
                "plant": PLANTED,
                "without": b"",
            }
            middle["twice"] = 2 * content[at:to]
            content = content[:at] if kind == "cut" else content[:at] + middle.get(kind, b"") + content[to:]
        content = content or b"\0"
    return content


def split_of(path: Path) -> tuple:
    """The annotations beside a changed file."""
    found = read_split(path.parents[2], "val")
    return found.table.to_csv(), *found.fits, *found.views


def inputs(folder: Path) -> dict[str, tuple[Path, object]]:
    """Good files, and how each is read: kind -> file, reader."""
    layout, hands = write_layout(folder / "layout", frames=2, splits=("val",)), load_hands()
    prepare_split(layout, "val", folder / "store", settings(), hands)
    write_pickle(folder / "MANO_RIGHT.pkl", licensed(open_hand()))
    np.savez(folder / "open_hand_right.npz", **open_hand())
    pairs = {h: hands.template[k].expand(3, -1, -1).numpy() for k, h in enumerate(("left", "right"))}
    np.savez_compressed(folder / "hands.npz", **pairs, intrinsics=np.diag([900.0, 900, 1]))
    (folder / "photo.jpg").write_bytes(random_jpeg(np.random.default_rng(0)))
    config = load_config(ROOT / "params.yaml")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    weights = HandDGCL(config.encoder, config.graph, hands).encoder.state_dict()
    info = {"row": "baseline", "seed": 0, "epoch": 1, "val_mpjpe_mm": 1.0, "hands": "", "config": config}
    write_checkpoint(folder / "checkpoint.safetensors", info, weights)
    (folder / "states").mkdir()
    WholeFiles().save_checkpoint(
        {"state_dict": weights, "history": [], IDENTITY: MARK}, folder / "states" / LAST
    )
    write_json(
        folder / "run.json", {"seconds": 1.5, "commit": "0", "identity": info | {"config": to_dict(config)}}
    )
    write_json(folder / "boxes.json", {f"{n}.jpg": [n, 2.5, 100, 80] for n in range(9)})
    names = {
        kind: layout / f"annotations/val/InterHand2.6M_val_{kind}.json"
        for kind in ("data", "camera", "MANO_NeuralAnnot")
    }
    return {
        **{f"{kind}.json": (path, split_of) for kind, path in names.items()},
        "MANO pickle": (folder / "MANO_RIGHT.pkl", lambda path: tuple(read_model(path).values())),
        "hand model npz": (folder / "open_hand_right.npz", lambda path: tuple(read_model(path).values())),
        "score npz": (folder / "hands.npz", lambda path: read_hand_file(path).vertices),
        "data set's JPEG": (folder / "photo.jpg", lambda path: _jpeg(path)),
        "photograph": (folder / "photo.jpg", read_image),
        "store": (folder / "store" / "part-00000.arrow", lambda path: Store(path.parent).check().images([0])),
        "checkpoint": (
            folder / "checkpoint.safetensors",
            lambda path: tuple(read_checkpoint(path)[1].values()),
        ),
        "training's state": (folder / "states" / LAST, _state),
        "run.json": (folder / "run.json", read_json),
        "boxes.json": (folder / "boxes.json", read_boxes),
        "params.yaml": (folder / "params.yaml", lambda path: to_dict(load_config(path))),
    }


def _jpeg(path: Path) -> np.ndarray:
    try:
        return read_jpeg(str(path), 334, 512)
    except (OSError, ValueError) as error:  # what preparation lists as unreadable
        raise InputError(str(error)) from error


def _state(path: Path) -> tuple:
    if (state := usable_state(path.parent, MARK)) is None:  # training says so and starts anew
        raise InputError("not usable")
    return tuple(state["state_dict"].values())


def answer(path: Path, read: object, good: bytes) -> str:
    """What became of one file."""
    try:
        found = pickle.dumps(read(path))
    except InputError as error:
        return "error" if str(error) else "traceback"
    except Exception as error:
        return f"traceback {type(error).__name__}: {str(error)[:100]}"
    finally:
        if Path(MARK).exists():
            Path(MARK).unlink()
            return "executed"  # noqa: B012 worse than any other answer
    return "same" if found == good else "other"


def work(connection, folder: Path, seed: int, jobs: list[tuple[str, int]]) -> None:
    """A process that reads one changed file after the other."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
    files = inputs(folder)
    whole = {kind: (path.read_bytes(), pickle.dumps(read(path))) for kind, (path, read) in files.items()}
    connection.send("ready")
    for kind, number in jobs:
        path, read = files[kind]
        random = np.random.default_rng([seed, list(files).index(kind), number])
        text = path.suffix in (".json", ".yaml")
        path.write_bytes(changed(whole[kind][0], random, text=text))
        connection.send(answer(path, read, whole[kind][1]))
        path.write_bytes(whole[kind][0])


def main(count: int = 110, seed: int = 0) -> None:
    """Run the campaign, `count` inputs of each kind."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = list(inputs(Path(folder)))
    jobs = [(kind, number) for kind in kinds for number in range(count)]
    found, examples = {kind: Counter() for kind in kinds}, []
    while jobs:
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("spawn").Process(
                target=work, args=(theirs, Path(folder), seed, jobs)
            )
            process.start()
            theirs.close()
            done = 0
            try:
                ours.recv()  # it has made its files
            except EOFError:
                raise SystemExit("the good files could not be made or read") from None
            try:
                while done < len(jobs) and ours.poll(PATIENCE_S):
                    said = ours.recv()
                    found[jobs[done][0]][said.split(" ")[0]] += 1
                    examples += (
                        [f"{jobs[done]}: {said}"] if said.startswith(("traceback", "executed")) else []
                    )
                    done += 1
            except EOFError:
                pass
            if done < len(jobs):  # the one it was at
                said = "hang" if process.is_alive() else "crash"
                found[jobs[done][0]][said] += 1
                examples.append(f"{jobs[done]}: {said}")
                process.kill()
                done += 1
            process.join()
            jobs = jobs[done:]
    about = {"commit": tracking.commit(), "inputs": count * len(kinds), "seed": seed}
    write_json(OUT / "mutations.json", about | {"mutations": found, "examples": examples})
    table(found, about)
    print(*examples, sep="\n")


def table(found: dict[str, Counter], about: dict) -> None:
    """The counts, to read."""
    frame = pd.DataFrame(found).T.fillna(0).astype(int)
    said = ", ".join(f"{name} {value}" for name, value in about.items())
    (OUT / "mutations.md").write_text(f"{frame.to_markdown()}\n\n{said}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
