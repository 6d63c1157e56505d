"""Where two hands meet, close up: the paper's Fig. 4 with what is inside the other hand marked."""

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from handdgcl.data.store import Store
from handdgcl.evaluate import Trained
from handdgcl.hands import Hands
from handdgcl.hands.camera import MM, project, weak_perspective
from handdgcl.hands.contact import closeness, seal, sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.report.pictures import PICTURE_PX, draw_hands
from handdgcl.report.results import row_title

ZOOM = 2.0
INSIDE = (213, 0, 0)  # RGB
FRACTION_BITS = 4


@torch.inference_mode()
def closeup_figure(samples: pd.DataFrame, store: Store, models: dict[str, Trained]) -> Figure:
    """One line per sample: truth and each row by its own camera, about the place where its hands are nearest.

    Red dots are vertices of one hand inside the other; below stands how deep the deepest is.

    Args:
        samples: of `choose_samples` or `worst_samples`.
        store: the test split.
        models: row -> its model.
    """
    raw = store.batch(samples["index"].tolist())
    meshes = {"Ground truth": (project(raw.vertices, raw.intrinsics[:, None]), raw.vertices)}
    for row, trained in models.items():
        output, hands = trained.network(raw.image), trained.hands
        points = weak_perspective(output.camera, output.vertices)
        meshes[row_title(row).replace(" + ", " +\n")] = points, output.metric_vertices()
    figure = Figure(figsize=(1.6 * len(meshes), 1.9 * len(samples) + 0.4), layout="constrained")
    axes = figure.subplots(len(samples), len(meshes), squeeze=False)
    for column, (title, (points, vertices)) in zip(axes.T, meshes.items(), strict=True):
        for line, ax in enumerate(column):
            picture, depth = _closeup(points[line], vertices[line], store.size, hands)
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[], title="" if line else title, xlabel=f"{depth:.1f} mm deep")
            ax.spines[:].set_color("0.8")
    return figure


def _closeup(points: Tensor, vertices: Tensor, size: int, hands: Hands) -> tuple[np.ndarray, float]:
    """The picture `[P, P, 3]` and the depth in mm of vertices `[H, V, 3]` m at points `[H, V, 2]` px."""
    near = torch.cdist(vertices[LEFT], vertices[RIGHT]).argmin().item()
    pair = points[LEFT, near // vertices.shape[1]], points[RIGHT, near % vertices.shape[1]]
    shown = (points - (pair[0] + pair[1]) / 2) * ZOOM * PICTURE_PX / size + PICTURE_PX / 2
    picture = draw_hands(np.full((PICTURE_PX, PICTURE_PX, 3), 255, np.uint8), shown, vertices, hands.faces)
    found = closeness(seal(MM * vertices.double().numpy()), sealed_faces(hands), contacts=False)
    inside = shown[torch.from_numpy(found.outside == 0)]
    for place in ((inside - 0.5) * 2**FRACTION_BITS).round().int().tolist():
        cv2.circle(picture, place, 2 * 2**FRACTION_BITS, INSIDE, -1, cv2.LINE_AA, FRACTION_BITS)
    return picture, found.depth_mm
