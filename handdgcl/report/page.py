"""The report as one HTML page that opens offline: figures and style are inside the file."""

import base64
from pathlib import Path

import cv2
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from handdgcl.atomic import replacing
from handdgcl.config import Config, to_dict
from handdgcl.report.cells import (
    claims_cells,
    differences_cells,
    features_cells,
    plain_cells,
    table_1_cells,
    table_2_cells,
)
from handdgcl.report.runs import MEAN_HAND, Run, parameter_differences, provenance
from handdgcl.report.sweep_figures import SWEEP_CAPTIONS
from handdgcl.report.sweep_section import sweep_section
from handdgcl.report.sweeps import Sweeps
from handdgcl.report.tables import METRICS, table_1, table_2
from handdgcl.report.why import WHY, readings

GENERATED = "generated"
WEBP_QUALITY = 88
CAPTIONS = {
    "table2": "Table 2 as dots. Ours: one mark per seed and a line at their mean; the paper: its one number, "
    "on its own axis. Compare the order of the rows, not their millimetres.",
    "validation": "Validation error over epochs; below, less the baseline's of the same seed. Mean over "
    "seeds; the band spans the seeds.",
    "losses": "Training loss by term, unweighted, over epochs: mean over seeds; the band spans the seeds. "
    "Self contrast is a log probability: higher is better, 0 is the best.",
    "differences": "Paired differences with 95 % intervals over seeds and clusters of test samples, not "
    "corrected for their number. Left of the line the first row has the smaller value. The mean validation "
    "error is that of the whole curve; its interval rests on seeds alone.",
    "contrast": "Whether the contrast works, on validation images (features) and in training (terms): mean "
    "over seeds; the band spans the seeds. Dotted: self contrast, with a full queue, of features that tell "
    "no image from another.",
    "qualitative": "Test samples chosen by the rule at their left. Left hand orange, right hand blue. Below "
    "the baseline and DGCLNet* stands this sample's MPJPE, mean of both hands; models of the first seed. "
    "The last two columns show the pair turned by 90° about the vertical axis.",
    "worst_best": "Where DGCLNet* fails: the test samples with its largest errors, the worst first; models "
    "of the first seed.",
    "worst_baseline": "Where the baseline fails, in the same way; a sample may stand in both figures.",
    "joints": "Error along each finger, mean over both hands and all seeds. The middle finger's base is the "
    "root, so its error is zero.",
    "overlap": "MPJPE by how much of the smaller hand's mask the other hand covers: a mark at the mean over "
    "seeds, a bar over their range.",
    "view": "MPJPE of each hand by the side it is seen from: a mark at the mean over seeds, a bar over their "
    "range. The angle is that of the normal of the palm (the plane of wrist and bases of index and little "
    "finger, out of the palm) to the direction to the camera: 0° looks into the palm, 90° on its edge, 180° "
    "on the back of the hand. Columns view_angle_deg and mpjpe_mm of rows/*/samples.csv.",
    "data_samples": "Samples of the data with projected skeleton and mesh.",
    **SWEEP_CAPTIONS,
    "data_histograms": "How deep one hand is in the other, how far apart their surfaces are, and how much of "
    "the smaller hand's mask the other one covers, in training pairs.",
    **{name: why.caption for name, why in WHY.items()},
}


def data_name(config: Config) -> str:
    """What the study ran on."""
    return "open hand, rendered" if config.data.source == GENERATED else "InterHand2.6M"


def write_page(
    path: Path,
    config: Config,
    runs: list[Run],
    *,
    images: dict[str, Path],
    counts: pd.DataFrame | None,
    answers: tuple[pd.DataFrame, pd.DataFrame],
    features: pd.DataFrame,
    sweeps: Sweeps | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: index.html.
        config: the parameters of the profile.
        runs: of `read_runs`.
        images: key of `CAPTIONS` -> PNG; those that are absent are left out of the page.
        counts: of the data's selection, or None.
        answers: of `differences.differences` and `verdicts.verdicts`.
        features: of `why.features_table`.
        sweeps: of `sweeps.read_sweeps`.

    Raises:
        InputError: the page could not be written.
    """
    data = data_name(config)
    differences, verdicts = answers
    shown = differences[differences["measure"].isin(METRICS) | differences["claim"].ne("")]
    pictures = {key: {"source": _embed(image), "caption": CAPTIONS[key]} for key, image in images.items()}
    content = _template().render(
        profile=config.profile,
        data=data,
        comparable=_comparable(config),
        facts=_facts(config, runs),
        parameter_differences=parameter_differences(runs),
        table_1=table_1_cells(table_1(runs, data=data)),
        table_2=table_2_cells(table_2(runs)),
        claims=claims_cells(verdicts, images),
        differences=differences_cells(shown),
        clusters=", ".join(dict.fromkeys(filter(None, differences["clusters"]))),
        figures=pictures,
        why=[
            {"name": name, "question": WHY[name].question, "reading": text}
            for name, text in readings(features).items()
        ],
        features=features_cells(features),
        counts=None if counts is None else plain_cells(counts),
        sweeps=None if sweeps is None else sweep_section(sweeps, to_dict(config)),
        provenance=plain_cells(provenance(runs).rename(columns=str.capitalize)),
        parameters=yaml.safe_dump(to_dict(config), sort_keys=False),
    )
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _template() -> Template:
    """The page; what it is given is escaped, and a name it lacks is an error."""
    loader = PackageLoader("handdgcl", "report")
    settings = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True}
    return Environment(loader=loader, **settings).get_template("page.html.j2")


def _comparable(config: Config) -> str:
    """Whether our millimetres may stand beside the paper's."""
    if config.data.source == GENERATED:
        return (
            "Ours were measured on rendered pairs of the open hand, not on InterHand2.6M: another hand "
            "model, other poses and other images. Numbers in millimetres are not comparable with the "
            "paper's or other methods'. The order of the rows can be compared, the sign of their "
            "differences, and these as shares of the error."
        )
    return (
        "Ours were measured on InterHand2.6M as selected here (counts below); others select and crop in "
        "their own ways, so small differences to quoted numbers say little."
    )


def _facts(config: Config, runs: list[Run]) -> list[tuple[str, str]]:
    """The lines below the title."""
    trained = [run for run in runs if run.row != MEAN_HAND]
    seconds = sum(run.info.get("seconds", 0) for run in trained)
    origin = provenance(runs)
    return [
        ("Profile", config.profile),
        ("Test samples", f"{len(runs[0].samples) // 2} images of two hands"),
        (
            "Images",
            f"{config.data.image_size} px square, the hands fill {config.data.fill:g} of the side",
        ),
        (
            "Training",
            f"{config.train.epochs} epochs, batch {config.train.batch_size}, encoder {_encoder(config)}",
        ),
        ("Seeds", ", ".join(str(seed) for seed in sorted({run.seed for run in trained}))),
        ("Training time", f"{seconds / 60:.1f} min for {len(trained)} runs together"),
        ("Commit", ", ".join(origin["commit"].unique())),
        ("Machine", "; ".join(origin["machine"].unique())),
    ]


def _encoder(config: Config) -> str:
    """One phrase on the encoder."""
    if config.encoder.weights != "random":
        return config.encoder.weights
    return f"from random weights, widths {', '.join(map(str, config.encoder.widths))}"


def _embed(image: Path) -> str:
    """A PNG as a data URI, in WebP: a fifth of the size, so that the page can be kept in Git."""
    _, webp = cv2.imencode(".webp", cv2.imread(str(image)), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
