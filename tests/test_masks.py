"""Overlap of masks against sets of cells."""

import pytest
import torch

from handdgcl.evaluate.interaction import FILL, GRID, mask_errors, true_masks
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import LEFT, RIGHT


def test_masks_against_sets_of_cells(hands, pairs):
    points = torch.as_tensor(pairs[..., :2] * 1000 + 128)
    moved = points + torch.tensor([[[8.0, 3.0]], [[0.0, 0.0]]])
    errors = mask_errors(moved, true_masks(points, hands.faces), hands.faces)
    for k in range(len(points)):
        low, high = points[k].flatten(0, 1).amin(0), points[k].flatten(0, 1).amax(0)
        scale, centre = GRID * FILL / (high - low).max(), (low + high) / 2
        cells = []
        for x in (points, moved):
            grid = (scale * (x[k] - centre) + GRID / 2).float()
            drawn = [
                rasterize(grid[[h]], torch.ones(1, 778), hands.faces[h], height=GRID, width=GRID).face[0] >= 0
                for h in (LEFT, RIGHT)
            ]
            cells.append([set(map(tuple, mask.nonzero().tolist())) for mask in drawn])
        (left, right), (left_moved, right_moved) = cells
        iou = lambda a, b: len(a & b) / len(a | b)
        expected = [iou(left, left_moved), iou(right, right_moved)]
        assert errors["mask_iou"][k].tolist() == pytest.approx(expected, abs=0.01)
        assert errors["mask_pair_iou"][k].item() == pytest.approx(
            iou(left | right, left_moved | right_moved), abs=0.01
        )
    assert errors["mask_iou"][:, LEFT].max() < 0.95 and errors["mask_iou"][:, RIGHT].min() > 0.999


def test_masks_of_hands_out_of_sight_do_not_overlap(hands, pairs):
    points = torch.as_tensor(pairs[..., :2] * 1000)
    truth = true_masks(points, hands.faces)
    assert (mask_errors(points, truth, hands.faces)["mask_iou"] == 1).all()
    assert (mask_errors(points * 10 + 1e9, truth, hands.faces)["mask_iou"] == 0).all()
    # seen by a camera of twice the resolution
    zoomed = mask_errors(2 * points + 4, true_masks(2 * points, hands.faces), hands.faces)["mask_iou"]
    assert torch.allclose(zoomed, mask_errors(points + 2, truth, hands.faces)["mask_iou"], atol=0.01)
