"""`python tests/campaigns/unlike.py`: does the shipped model know pictures without two hands?

Pictures of kinds that nothing was fitted with, against the test split of the pipeline's data: the
area under the ROC curve of the distance, and the share beyond the limit. Writes to reports/reliability.
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
from handdgcl.report.familiar import features, read_familiar

COUNT = 100
OUT = Path("reports/reliability")


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


def main() -> None:
    """Measure."""
    project, random = enter_project(), np.random.default_rng(0)
    model, familiar = load_model(SHIPPED), read_familiar(SHIPPED)
    store = Store(project.store / "test")
    known = familiar.distance(features(model.network, store, np.arange(len(store))))
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
    found = {"test split": {"beyond_limit": float((known > 1).float().mean())}}
    for name, pictures in kinds.items():
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            far = familiar.distance(model.network.encoder(pixels))
        label = np.repeat([0, 1], [len(known), len(far)])
        area = roc_auc_score(label, torch.cat([known, far]))
        found[name] = {"area_under_roc": float(area), "beyond_limit": float((far > 1).float().mean())}
    write_json(OUT / "unlike.json", {"commit": tracking.commit(), "kinds": found})
    frame = pd.DataFrame(found).T[["area_under_roc", "beyond_limit"]]
    text = frame.to_markdown(floatfmt=".3f", missingval="")
    (OUT / "unlike.md").write_text(f"{text}\n\ncommit {tracking.commit()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
