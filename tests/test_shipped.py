"""A model for `handdgcl predict`, and whether it knows which hands a picture shows."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from handdgcl.cli import main
from handdgcl.data.store import Store
from handdgcl.files import InputError
from handdgcl.hands.camera import project as to_pixels
from handdgcl.hands.raster import silhouettes
from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.report.doubts import QUANTILE, fit_presence, read_doubts, ship, without_hands
from handdgcl.train.checkpoint import load_model, read_checkpoint, write_checkpoint


def test_a_shipped_model_predicts_the_same_and_doubts_other_pictures(
    train, project, tmp_path, capsys, caplog
):
    checkpoint = train()
    shipped = ship(checkpoint, project.store, tmp_path / "model.safetensors")
    assert read_doubts(checkpoint) is None
    written = shipped.stat().st_mtime_ns
    assert ship(checkpoint, project.store, shipped).stat().st_mtime_ns == written
    whole, alone = load_model(checkpoint), load_model(shipped)
    images = Store(project.store / "test").images(range(4))
    with torch.inference_mode():
        assert torch.equal(whole.network(images).vertices, alone.network(images).vertices)
    prefixes = {key.partition(".")[0] for key in read_checkpoint(shipped)[1]}
    assert alone.dgclnet is None and prefixes == {"network", "familiar", "presence"}
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "known.png")
    for name, doubted in (("noise", True), ("known", False)):
        caplog.clear()
        arguments = ["--checkpoint", str(shipped), "--out", str(tmp_path / "out")]
        assert main(["predict", str(tmp_path / f"{name}.png"), *arguments]) == 0
        assert ("unlike the training pictures" in caplog.text) == doubted


def test_hands_are_painted_over_and_nothing_else(tiny_store, hands):
    raw = Store(tiny_store / "train").batch(range(6))
    left, right, both = without_hands(raw, hands)
    S, points = raw.image.shape[-1], to_pixels(raw.vertices, raw.intrinsics[:, None])
    cover = [silhouettes(points[:, h], hands.faces[h], height=S, width=S).numpy() for h in (LEFT, RIGHT)]
    changed = [(x != raw.image).any(1).numpy() for x in (left, right, both)]
    near = lambda mask: np.stack([cv2.dilate(m.astype(np.uint8), np.ones((3, 3))) for m in mask]) > 0
    for h, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
        assert not (changed[h] & ~near(cover[h])).any()
        alone = cover[h] & ~cover[other]
        assert changed[h][alone].mean() > 0.7 and changed[2][alone].mean() > 0.7
        assert not (changed[h] & cover[other] & ~cover[h]).any()
    assert not (changed[2] & ~near(cover[LEFT] | cover[RIGHT])).any()


def test_presence_is_of_each_hand(tiny_store, hands):
    """By the pixels themselves, in place of an encoder's feature."""
    pixels = lambda image: torch.nn.functional.avg_pool2d(image.float(), 4).flatten(1)
    train, val = (Store(tiny_store / split) for split in ("train", "val"))
    presence = fit_presence(SimpleNamespace(encoder=pixels), hands, train, val)
    raw = train.batch(range(len(train)))
    p = presence.probability(pixels(raw.image))
    assert (p > 0.5).float().mean() > 0.9
    for h, image in zip((LEFT, RIGHT), without_hands(raw, hands), strict=False):
        gone = presence.probability(pixels(image))
        assert (gone[:, h] < 0.5).float().mean() > 0.8 and (gone[:, 1 - h] > 0.5).float().mean() > 0.8
    known = presence.probability(pixels(val.images(range(len(val)))))
    assert (known >= presence.limit).float().mean() == pytest.approx(QUANTILE, abs=1 / len(val))


def test_half_a_shipped_model_is_refused(train, project, tmp_path):
    shipped = ship(train(), project.store, tmp_path / "model.safetensors")
    info, weights = read_checkpoint(shipped)
    write_checkpoint(shipped, info, {k: v for k, v in weights.items() if not k.startswith("presence.")})
    with pytest.raises(InputError, match="presence"):
        read_doubts(shipped)


def test_a_missing_hand_is_doubted(train, project, tmp_path, capsys, caplog):
    shipped = ship(train(), project.store, tmp_path / "model.safetensors")
    doubts = read_doubts(shipped)
    sure = doubts._replace(presence=doubts.presence._replace(limit=torch.tensor([1.0, 0.0])))
    facts, words = sure.of(torch.ones(len(doubts.familiar.mean)))
    assert set(facts["presence"]) == {"left", "right"} and all(
        0 <= p <= 1 for p in facts["presence"].values()
    )
    assert [word for word in words if "left" in word] and not [word for word in words if "right" in word]
