"""Drawing two hands: shaded meshes and skeletons over a picture, and samples side by side."""

from textwrap import fill

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from handdgcl.data.batch import RawBatch, with_joints
from handdgcl.data.store import Store
from handdgcl.evaluate import Trained
from handdgcl.files import InputError
from handdgcl.hands import Hands
from handdgcl.hands.camera import project, weak_perspective
from handdgcl.hands.raster import rasterize, vertex_normals
from handdgcl.hands.topology import BONES, HANDS
from handdgcl.report.results import BASELINE, BEST, row_title

# Okabe and Ito's colour-blind safe orange and sky blue, RGB; they differ in grey too.
HAND_COLOURS = {"left": (230, 159, 0), "right": (86, 180, 233)}
AMBIENT = 0.4  # share of a surface's colour that shows in the dark
LIGHT = (-0.35, -0.5, -0.79)  # direction to the light: above, left, behind the viewer
FINE_PX = 1024  # hands smaller than this are drawn twice as fine and averaged, against jagged edges
FAR_M = 10.0  # added to depths: the rasteriser wants them positive; only their order matters here
PICTURE_PX = 256  # side of one picture
OPACITY = 0.8


def draw_hands(
    picture: np.ndarray, points_2d: Tensor, vertices: Tensor, faces: Tensor, *, opacity: float = 1.0
) -> np.ndarray:
    """Both meshes over a picture, shaded; the nearer surface hides the farther one.

    Args:
        picture: `[height, width, 3]` uint8, RGB; left as it is.
        points_2d: `[H, V, 2]` px of the picture.
        vertices: `[H, V, 3]` metres, axes of the camera (z away from it); give depth and shading.
        faces: `[H, F, 3]`, outward orientation.
        opacity: 1 covers the picture, 0 leaves it.

    Returns:
        `[height, width, 3]` uint8.
    """
    points_2d, vertices = (points.detach().float().cpu() for points in (points_2d, vertices))
    faces = faces.cpu()
    flat, side = points_2d.flatten(0, 1), torch.tensor(picture.shape[1::-1])
    low = flat.amin(0).floor().long().clamp(min=0).minimum(side).tolist()  # only this window changes
    high = flat.amax(0).ceil().long().clamp(min=0).minimum(side).tolist()
    out = picture.copy()
    window = out[low[1] : high[1], low[0] : high[0]]
    if not window.size:
        return out
    fine = 2 if max(window.shape) <= FINE_PX else 1
    height, width = fine * window.shape[0], fine * window.shape[1]
    canvas = _render(fine * (points_2d - torch.tensor(low)), vertices, faces, height, width)
    drawn = cv2.resize(canvas.numpy(), window.shape[1::-1], interpolation=cv2.INTER_AREA)
    window[:] = (window * (1 - opacity * drawn[..., 3:]) + opacity * drawn[..., :3]).round().clip(0, 255)
    return out


def _render(points_2d: Tensor, vertices: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """Shaded meshes on nothing: `[height, width, 4]`, colour times coverage and coverage."""
    shift = vertices.shape[1] * torch.arange(len(HANDS))[:, None, None]
    both = (faces + shift).flatten(0, 1)  # [HF,3], one mesh
    depth = vertices[..., 2].flatten() + FAR_M
    seen = rasterize(points_2d.flatten(0, 1)[None], depth[None], both, height=height, width=width)
    hit = seen.face[0] >= 0
    face, weights = seen.face[0][hit], seen.barycentric[0][hit]  # [P], [P,3]
    normals = torch.cat([vertex_normals(vertices[h], faces[h]) for h in range(len(HANDS))])
    normal = (normals[both[face]] * weights[..., None]).sum(1)  # [P,3]
    normal = normal * -normal[:, 2:].sign()  # the inside of a cut wrist is lit like the outside
    shade = AMBIENT + (1 - AMBIENT) * (normal @ torch.tensor(LIGHT)).clamp(0, 1)
    colours = torch.tensor([HAND_COLOURS[hand] for hand in HANDS], dtype=torch.float32)
    canvas = torch.zeros(height, width, 4)
    canvas[hit] = torch.cat([colours[face // faces.shape[1]] * shade[:, None], torch.ones(len(shade), 1)], 1)
    return canvas


def draw_skeletons(picture: np.ndarray, joints_2d: Tensor) -> np.ndarray:
    """Bones and joints `[H, J, 2]` px (pixel centres at +0.5) over a copy of a picture, as `draw_hands`."""
    picture = np.ascontiguousarray(picture).copy()
    width, fraction_bits = max(1, round(max(picture.shape[:2]) / 200)), 4
    radius = (width + 1) * 2**fraction_bits
    # cv2 counts from pixel centres
    fixed = ((joints_2d.detach().cpu().numpy() - 0.5) * 2**fraction_bits).round().astype(int)
    for hand, points in zip(HANDS, fixed.tolist(), strict=True):
        colour = HAND_COLOURS[hand]
        for start, end in BONES:
            cv2.line(picture, points[start], points[end], colour, width, cv2.LINE_AA, fraction_bits)
        for point in points:
            cv2.circle(picture, point, radius, colour, -1, cv2.LINE_AA, fraction_bits)
    return picture


def centred(vertices: Tensor) -> Tensor:
    """`[..., 3]` with the middle of the box around all of them as the origin."""
    points = vertices.reshape(-1, 3)
    return vertices - (points.amin(0) + points.amax(0)) / 2


def from_the_side(vertices: Tensor) -> Tensor:
    """`[..., 3]` turned by 90 degrees about the vertical axis through their middle, the new origin."""
    x, y, z = centred(vertices).unbind(-1)
    return torch.stack([z, y, -x], -1)


def draw_samples(raw: RawBatch, hands: Hands) -> Figure:
    """Each sample's image, its skeleton and its mesh, projected by the crop's own camera."""
    batch, zoom = with_joints(raw, hands), PICTURE_PX / raw.image.shape[-1]
    points = zoom * project(raw.vertices, raw.intrinsics[:, None])
    pictures = enlarge(raw.image)
    skeletons = [draw_skeletons(*pair) for pair in zip(pictures, zoom * batch.joints_2d, strict=True)]
    meshes = _meshes(pictures, points, raw.vertices, hands)
    return mosaic({"image": pictures, "skeleton": skeletons, "mesh": meshes})


@torch.inference_mode()
def draw_predictions(trained: Trained, raw: RawBatch) -> Figure:
    """Each image, its true hands, and the predicted ones where the predicted camera sees them."""
    output, zoom = trained.network(raw.image), PICTURE_PX / raw.image.shape[-1]
    true_points = zoom * project(raw.vertices, raw.intrinsics[:, None])
    points = zoom * weak_perspective(output.camera, output.vertices)
    pictures = enlarge(raw.image[:, :3])
    truth = _meshes(pictures, true_points, raw.vertices, trained.hands)
    if output.joints is None:
        prediction = _meshes(pictures, points, output.metric_vertices(), trained.hands)
    else:
        joints_2d = zoom * weak_perspective(output.camera, output.joints)
        prediction = [draw_skeletons(*pair) for pair in zip(pictures, joints_2d, strict=True)]
    return mosaic({"image": pictures, "truth": truth, "prediction": prediction})


def _meshes(pictures: np.ndarray, points: Tensor, vertices: Tensor, hands: Hands) -> list[np.ndarray]:
    """`draw_hands` on each picture."""
    each = zip(pictures, points, vertices, strict=True)
    return [draw_hands(picture, p, v, hands.faces, opacity=OPACITY) for picture, p, v in each]


def enlarge(image: Tensor) -> np.ndarray:
    """`[B, 3, S, S]` uint8 → `[B, P, P, 3]` uint8, P = PICTURE_PX, so that lines are fine."""
    image = functional.interpolate(image, size=(PICTURE_PX, PICTURE_PX), mode="nearest")
    return image.permute(0, 2, 3, 1).numpy()


def mosaic(rows: dict[str, list[np.ndarray]]) -> Figure:
    """Pictures of one kind in a row, under its title; of one sample in a column."""
    shape = len(rows), len(next(iter(rows.values())))
    figure = Figure(figsize=(1.9 * shape[1], 1.9 * shape[0]), layout="constrained")
    for axes, (title, pictures) in zip(figure.subplots(*shape, squeeze=False), rows.items(), strict=True):
        axes[0].set_ylabel(title)
        for ax, picture in zip(axes, pictures, strict=True):
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
    return figure


def choose_samples(
    samples: pd.DataFrame, rows: tuple[str, ...] = (BASELINE, BEST), *, seed: int, count: int = 6
) -> pd.DataFrame:
    """Samples of `results.samples` for `qualitative_figure`: by a rule, never by hand.

    The first row's MPJPE (both hands, the given seed) is cut into `count - 1` equal shares and the sample in
    the middle of each is taken; the last one has the largest overlap of the two hands.

    Returns:
        index (position in the test store), the MPJPE of each row in mm, and rule.

    Raises:
        InputError: a row was not run with this seed.
    """
    errors = _errors(samples, rows, seed)
    overlap, chosen = samples.groupby("index")["iou"].first(), {}
    shares = max(count - 1, 1)
    ranked = errors.sort_values(rows[0], kind="stable").index
    for share in (np.arange(shares) + 0.5) / shares:
        rule = f"error of {row_title(rows[0])}: {100 * share:.0f}th percentile"
        chosen.setdefault(ranked[int(share * len(ranked))], rule)
    chosen.setdefault(overlap.idxmax(), f"largest overlap: {overlap.max():.2f}")
    return errors.loc[list(chosen)].reset_index().assign(rule=list(chosen.values()))


def worst_samples(samples: pd.DataFrame, *, row: str, seed: int, count: int = 10) -> pd.DataFrame:
    """The samples with the largest MPJPE of `row`, BASELINE or BEST, the worst first, as `choose_samples`."""
    errors = _errors(samples, (BASELINE, BEST), seed).nlargest(count, row)
    rules = [f"{row_title(row)}: rank {rank} from the worst" for rank in range(1, len(errors) + 1)]
    return errors.reset_index().assign(rule=rules)


def _errors(samples: pd.DataFrame, rows: tuple[str, ...], seed: int) -> pd.DataFrame:
    """MPJPE of each test sample, mean of both hands, a column for each row."""
    shown = samples[samples["seed"] == seed].groupby(["index", "row"])["mpjpe_mm"].mean().unstack()
    for row in rows:
        if row not in shown:
            raise InputError(f"{row_title(row)} was not run with seed {seed}; run `dvc repro`")
    return shown[list(rows)].rename_axis(columns=None)


@torch.inference_mode()
def qualitative_figure(samples: pd.DataFrame, store: Store, models: dict[str, Trained]) -> Figure:
    """In the manner of the paper's Fig. 3, one line per sample.

    Columns: input, truth, each row, the last row over the input, and truth and last row from the side.

    Args:
        samples: of `choose_samples` or `worst_samples`.
        store: the test split.
        models: row -> its model, all of one seed.
    """
    raw, rows = store.batch(samples["index"].tolist()), [row_title(row) for row in models]
    meshes = [(project(raw.vertices, raw.intrinsics[:, None]), raw.vertices)]
    for trained in models.values():
        output = trained.network(raw.image)
        meshes.append((weak_perspective(output.camera, output.vertices), output.metric_vertices()))
    last = f"{rows[-1]},\n"
    titles = ["Input", "Ground truth", *rows, last + "overlay", "Ground truth,\nside", last + "side"]
    titles = [title.replace(" + ", " +\n").split("\n") for title in titles]
    titles = ["\n".join(fill(line, 16) for line in title) for title in titles]
    figure = Figure(figsize=(1.7 * len(titles) + 0.6, 1.78 * len(samples) + 0.5), layout="constrained")
    axes = figure.subplots(len(samples), len(titles), squeeze=False)
    faces = trained.hands.faces
    for line, sample in enumerate(samples.to_dict("records")):
        picture = raw.image[line].permute(1, 2, 0).numpy()
        cells = _pictures_of(picture, [(points[line], vertices[line]) for points, vertices in meshes], faces)
        for ax, cell, title in zip(axes[line], cells, titles, strict=True):
            ax.imshow(cell)
            ax.set(xticks=[], yticks=[], title=title if line == 0 else None)
            ax.spines[:].set_visible(False)
        axes[line, 0].set_ylabel(sample["rule"].replace(": ", ":\n"))
        for column, row in enumerate(models, start=2):
            axes[line, column].set_xlabel(f"{sample[row]:.1f} mm")
    return figure


def _pictures_of(picture: np.ndarray, meshes: list[tuple[Tensor, Tensor]], faces: Tensor) -> list[np.ndarray]:
    """One line of `qualitative_figure`; meshes: truth and predictions, px and metres as in `draw_hands`."""
    zoom = PICTURE_PX / picture.shape[0]
    large = cv2.resize(picture, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_CUBIC)
    white = np.full_like(large, 255)
    cells = [draw_hands(white, zoom * points, vertices, faces) for points, vertices in meshes]
    points, vertices = meshes[-1]
    cells.append(draw_hands(large, zoom * points, vertices, faces, opacity=OPACITY))
    sides = [from_the_side(vertices) for _, vertices in (meshes[0], meshes[-1])]
    scale = 0.75 * PICTURE_PX / (2 * sides[0].amax())  # one for both, so that sizes can be compared
    cells += [draw_hands(white, scale * side[..., :2] + PICTURE_PX / 2, side, faces) for side in sides]
    return [large, *cells]
