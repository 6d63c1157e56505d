"""`python tests/campaigns/unlike.py`: does the shipped model know pictures without two hands?

Pictures of kinds that nothing was fitted with, against the test split of the pipeline's data: the areas under
the ROC curves of the distance and of each hand's presence, and the share of pictures of which `predict`
doubts something. Writes to reports/reliability.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pandas as pd
import sklearn.datasets
import torch
from msgspec.structs import replace
from PIL import Image
from sklearn.metrics import roc_auc_score

from handdgcl import tracking
from handdgcl.cli import SHIPPED
from handdgcl.config import Splits
from handdgcl.data.crop import warp_crop
from handdgcl.data.prepare import prepare_split, prepare_twins
from handdgcl.data.store import Store
from handdgcl.data.twins import TwinStore
from handdgcl.evaluate import load_model
from handdgcl.files import write_json
from handdgcl.hands import Hands
from handdgcl.hands.camera import square_crop
from handdgcl.hands.topology import HANDS
from handdgcl.project import SPLITS, Project, enter_project
from handdgcl.render import write_dataset
from handdgcl.report.doubts import Doubts, features, read_doubts

COUNT = 100
OUT = Path("reports/reliability")
COLUMNS = {"roc_distance": "distance, area under ROC", "roc_left": "left hand's", "roc_right": "right hand's"}
COLUMNS |= {
    "unlike": "said to be unlike",
    "no_left": "no left hand",
    "no_right": "no right hand",
    "any": "any",
}


def crops(picture: np.ndarray, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Squares of a photograph."""
    height, width = picture.shape[:2]
    while True:
        side = random.uniform(0.4, 1) * min(height, width)
        low = random.uniform(0, [width - side, height - side])
        yield warp_crop(picture, square_crop(np.stack([low, low + side]), fill=1.0, size=size), size=size)


def made(size: int, random: np.random.Generator) -> dict[str, Callable[[], np.ndarray]]:
    """Pictures by rule."""
    level = lambda *shape: random.integers(0, 256, shape).astype(np.uint8)
    hue = np.tile(np.linspace(0, 179, size).astype(np.uint8), (size, 1))

    def rainbow() -> np.ndarray:
        turned = np.roll(hue, random.integers(size), 1)
        full = np.full_like(hue, 255)
        return cv2.cvtColor(np.dstack([turned, full, full]), cv2.COLOR_HSV2RGB)

    return {
        "one colour": lambda: np.broadcast_to(level(3), (size, size, 3)).copy(),
        "noise": lambda: level(size, size, 3),
        "soft blocks": lambda: cv2.resize(level(8, 8, 3), (size, size)),
        "rainbow": rainbow,
    }


def one_hand(project: Project, hands: Hands, folder: Path) -> dict[str, np.ndarray]:
    """New pairs from which one hand is left out."""
    few = Splits(train=1, val=1, test=COUNT)
    people = Splits(train=1, val=1, test=20)
    generate = replace(project.config.generate, images=few, subjects=people, seed=101, twins=True)
    write_dataset(folder / "set", generate, hands, workers=2)
    for split in SPLITS:
        prepare_split(folder / "set", split, folder / "store" / split, project.config.data, hands)
    prepare_twins(folder / "set", folder / "store", project.config.data, hands)
    images = TwinStore(folder / "store" / "test").images(range(COUNT)).permute(0, 2, 3, 1).numpy()
    return {f"one {hand} hand": images[..., 3 + 3 * h : 6 + 3 * h] for h, hand in enumerate(HANDS)}


def measure(doubts: Doubts, known: torch.Tensor, seen: torch.Tensor) -> dict[str, float]:
    """One kind's features `[n, C]` against those of the test split, `known`."""
    label = np.repeat([0, 1], [len(known), len(seen)])
    both = torch.cat([known, seen])
    found = {"roc_distance": roc_auc_score(label, doubts.familiar.distance(both))}
    for h, hand in enumerate(HANDS):
        found[f"roc_{hand}"] = roc_auc_score(label, -doubts.presence.probability(both)[:, h])
    return found | doubted(doubts, seen)


def doubted(doubts: Doubts, seen: torch.Tensor) -> dict[str, float]:
    """Of what share of pictures something is doubted, of features `[n, C]`."""
    far = doubts.familiar.distance(seen) > 1
    absent = doubts.presence.probability(seen) < doubts.presence.limit
    found = {"unlike": far, "no_left": absent[:, 0], "no_right": absent[:, 1], "any": far | absent.any(1)}
    return {name: float(each.float().mean()) for name, each in found.items()}


@torch.inference_mode()
def main() -> None:
    """Measure."""
    project, random = enter_project(), np.random.default_rng(0)
    model, doubts = load_model(SHIPPED), read_doubts(SHIPPED)
    store = Store(project.store / "test")
    known = features(model.network, store, len(store))
    kinds = {name: [make() for _ in range(COUNT)] for name, make in made(store.size, random).items()}
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photographs = {"a face": np.array(Image.open(file).convert("RGB"))}
    for name in ("china", "flower"):
        photographs[f"a {name} photograph"] = sklearn.datasets.load_sample_image(f"{name}.jpg")
    for path in sorted(Path("../shared/interhand-sample/images").rglob("*.jpg")):  # where somebody has them
        photographs[f"real hands, {path.stem}"] = np.array(Image.open(path).convert("RGB"))
    for name, picture in photographs.items():
        several = crops(picture, store.size, random)
        kinds[name] = [next(several) for _ in range(COUNT)]
    with tempfile.TemporaryDirectory() as folder:
        kinds |= one_hand(project, model.hands, Path(folder))
    found = {"test split": doubted(doubts, known)}
    for name, pictures in kinds.items():
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        found[name] = measure(doubts, known, model.network.encoder(pixels))
    write_json(OUT / "unlike.json", {"commit": tracking.commit(), "kinds": found})
    frame = pd.DataFrame(found).T.reindex(columns=list(COLUMNS)).rename(columns=COLUMNS)
    text = frame.to_markdown(floatfmt=".3f", missingval="")
    (OUT / "unlike.md").write_text(f"{text}\n\ncommit {tracking.commit()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
