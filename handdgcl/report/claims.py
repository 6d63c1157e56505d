"""The paper's claims as questions: which differences between rows, in which measure, with which sign."""

from dataclasses import dataclass

from handdgcl.report.tables import BASELINE, BEST
from handdgcl.rows import ROWS

SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNDECIDED, UNMEASURED = "undecided at this size", "not measured"
DGCLNET = "dgclnet"
EXPLICIT = tuple(name for name, row in ROWS.items() if row.disturbance and row.disturbance != "unet")
WITH_DGCLNET = ((DGCLNET, BASELINE), (BEST, BASELINE))


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Attributes:
        title: as tables and figures name it.
        unit: of a difference; "" for a share or a ratio.
        file: where a run's values stand, in its folder.
        column: the column there.
        rule: how the run's value follows from that column.
    """

    title: str
    unit: str
    file: str
    column: str
    rule: str = "mean over hands and samples"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        statement: the claim, in a sentence.
        measures: keys of `MEASURES` that decide it.
        pairs: the differences that decide it, (row, compared with).
        sign: of all these differences, were the claim true.
        figure: key of the page's figure that shows it.
        unmeasured: why nothing is said about it where its measures are absent.
    """

    statement: str
    measures: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    sign: int = 0
    figure: str = ""
    unmeasured: str = "a row that it is about was not run"


MEASURES = {
    "mpjpe": Measure("MPJPE", "mm", "samples.csv", "mpjpe_mm"),
    "mpvpe": Measure("MPVPE", "mm", "samples.csv", "mpvpe_mm"),
    "curve": Measure(
        "Mean validation MPJPE",
        "mm",
        "curves.csv",
        "val_mpjpe_mm",
        "area under the curve divided by its length in epochs",
    ),
    "collisions": Measure(
        "Share of pairs that collide", "", "samples.csv", "penetration_depth_mm", "share of samples above 0"
    ),
    "depth": Measure("Penetration depth", "mm", "samples.csv", "penetration_depth_mm"),
    "volume": Measure("Penetration volume", "cm³", "samples.csv", "penetration_volume_cm3"),
    "mask_iou": Measure("Mask IoU", "", "samples.csv", "mask_iou"),
}
CLAIMS = {
    "C1": Claim(
        "Every explicit disturbance makes the baseline worse.",
        ("mpjpe",),
        tuple((row, BASELINE) for row in EXPLICIT),
        1,
        "differences",
    ),
    "C2": Claim(
        "DGCLNet, without and with *, makes the baseline better.", ("mpjpe",), WITH_DGCLNET, -1, "differences"
    ),
    "C3": Claim(
        "Similarity distinguish (*) improves DGCLNet further.",
        ("mpjpe",),
        ((BEST, DGCLNET),),
        -1,
        "differences",
    ),
    "C4": Claim(
        "DGCLNet converges faster and more steadily.",
        ("curve",),
        WITH_DGCLNET,
        -1,
        "validation",
        "the runs left no validation curves",
    ),
    "C5": Claim(
        "DGCLNet makes fewer and shallower collisions between the hands.",
        ("collisions", "depth"),
        WITH_DGCLNET,
        -1,
        "differences",
        "samples.csv has no penetration_depth_mm",
    ),
    "C6": Claim(
        "DGCLNet's hands overlap better with the hands' masks in the image.",
        ("mask_iou",),
        WITH_DGCLNET,
        1,
        "differences",
        "samples.csv has no mask_iou",
    ),
    "C7": Claim(
        "DGCLNet costs nothing at inference.",
        unmeasured="the checkpoints were not there to count their weights",
    ),
    "C8": Claim(
        "The loss of many terms balances its tasks.",
        unmeasured="the sweep that leaves out one term of the loss each was not run",
    ),
}


def deciding(measure: str, pair: tuple[str, str]) -> str:
    """The claim that this difference in this measure decides, or ""."""
    names = (name for name, c in CLAIMS.items() if measure in c.measures and pair in c.pairs)
    return next(names, "")
