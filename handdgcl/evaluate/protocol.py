"""What each error is called, its root and scale, and the table that says so."""

from typing import NamedTuple

from handdgcl.hands.topology import FINGERS, HANDS


class Line(NamedTuple):
    """How an error is measured."""

    title: str
    root: str
    scale: str
    unit: str


_MCP, _WRIST, _BONE, _FIT, _NONE = "middle MCP", "wrist", "metacarpal", "fitted", "none"

PROTOCOL = {
    "mpjpe_mm": Line("MPJPE (Tables 1-2)", _MCP, _BONE, "mm"),
    "mpvpe_mm": Line("MPVPE (Tables 1-2)", _MCP, _BONE, "mm"),
    "mpjpe_unscaled_mm": Line("MPJPE", _MCP, _NONE, "mm"),
    "mpvpe_unscaled_mm": Line("MPVPE", _MCP, _NONE, "mm"),
    "mpjpe_wrist_mm": Line("MPJPE", _WRIST, _NONE, "mm"),
    "mpvpe_wrist_mm": Line("MPVPE", _WRIST, _NONE, "mm"),
    "pa_mpjpe_mm": Line("PA-MPJPE", _FIT, _FIT, "mm"),
    "pa_mpvpe_mm": Line("PA-MPVPE", _FIT, _FIT, "mm"),
    "pa_pair_mpvpe_mm": Line("PA-MPVPE, both hands as one", _FIT, _FIT, "mm"),
    "mrrpe_mm": Line("MRRPE", _MCP, _NONE, "mm"),
    "mrrpe_wrist_mm": Line("MRRPE", _WRIST, _NONE, "mm"),
    "pck_0_50mm_auc": Line("AUC of joint PCK, 0-50 mm", _MCP, _BONE, "share"),
    "pixel_px": Line("Joint pixel error", _NONE, _NONE, "px"),
    "mask_iou": Line("Mask IoU", _NONE, _NONE, "share"),
    "mask_pair_iou": Line("Mask IoU, both hands as one", _NONE, _NONE, "share"),
    "penetration_depth_mm": Line("Penetration, depth", _NONE, _NONE, "mm"),
    "true_penetration_depth_mm": Line("  of the truth", _NONE, _NONE, "mm"),
    "penetration_volume_cm3": Line("Penetration, volume", _NONE, _NONE, "cm3"),
    "true_penetration_volume_cm3": Line("  of the truth", _NONE, _NONE, "cm3"),
    "contacts_kept_share": Line("True contacts kept, 3 mm", _NONE, _NONE, "share"),
    "contact_deviation_mm": Line("Contact deviation", _NONE, _NONE, "mm"),
    "true_contact_deviation_mm": Line("  of the truth", _NONE, _NONE, "mm"),
}


def score_table(summary: dict) -> str:
    """The summary of a score as text: errors, fingers below, then what could not be measured."""
    bins = summary["by_overlap"]
    groups = [summary["metrics"], *summary["by_hand"].values(), *(b["metrics"] for b in bins.values())]
    heads = ["both", *HANDS, *(f"overlap {title}" for title in bins)]
    lines = [["error", "root", "scale", "unit", *heads]]
    for name, line in PROTOCOL.items():
        if name in summary["metrics"]:
            lines.append([*line, *(_number(group.get(name)) for group in groups)])
    lines.append(
        ["pairs", "", "", "", str(summary["pairs"]), "", "", *(str(b["pairs"]) for b in bins.values())]
    )
    fingers = summary["per_finger_mm"]
    below = [["MPJPE by finger, mm", *FINGERS]]
    below += [[hand, *(_number(fingers[hand][finger]) for finger in FINGERS)] for hand in HANDS]
    failed = [
        f"not measured: {name} of {count} pairs" for name, count in summary["not_measured"].items() if count
    ]
    return "\n".join([*_align(lines), "", *_align(below), *failed, *summary["notes"]])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _align(lines: list[list[str]]) -> list[str]:
    """Columns of equal width, the first one to the left."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
