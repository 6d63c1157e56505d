"""Do the MANO fits and the keypoints of joint_3d.json mean the same hands, in the same place?

The study reads the fits alone. The keypoints lie beside them and show what the fits cannot: left and right
exchanged, another unit or frame.
"""

import logging
from pathlib import Path

import msgspec
import numpy as np
import torch

from handdgcl.data.annotations import FETCH_AGAIN, Keypoints, annotation_path
from handdgcl.data.interhand import Selection
from handdgcl.files import InputError, regular
from handdgcl.hands import Hands
from handdgcl.hands.camera import MM
from handdgcl.hands.topology import HANDS, INTERHAND_ORDER, JOINT_COUNT

log = logging.getLogger(__name__)

FRAMES = 32  # looked at, evenly
MOST_OFF_MM = 60.0  # fits are within a centimetre or two of the keypoints


def check_keypoints(folder: str | Path, split: str, selection: Selection, hands: Hands) -> None:
    """Compare an even share of the selected frames; nothing is asked where there is no joint_3d.json.

    Raises:
        InputError: the file is malformed, the two hands are exchanged, or fits and keypoints are far apart.
    """
    path = annotation_path(folder, split, "joint_3d")
    if not path.exists():
        log.info("%s: not there, so the fits are not compared with keypoints", path)
        return
    fits = np.unique(np.linspace(0, len(selection.fits.pose) - 1, FRAMES).round().astype(int))
    given = _keypoints(path, selection, fits)
    parts = [torch.as_tensor(part[fits]) for part in selection.fits]
    apart, exchanged = (_off_mm(hands, both, given) for both in (parts, [part.flip(1) for part in parts]))
    if apart > MOST_OFF_MM or exchanged < apart / 2:
        reason = f"{apart:.0f} mm (median) from the keypoints of {path.name}"
        if exchanged < apart / 2:
            reason += f", and {exchanged:.0f} with left and right exchanged, so they are exchanged"
        fitted = annotation_path(folder, split, "MANO_NeuralAnnot")
        raise InputError(
            f"{fitted}: the fits are {reason}; metres and the same world are wanted; {FETCH_AGAIN}"
        )


@torch.no_grad()
def _off_mm(hands: Hands, parts: list[torch.Tensor], given: np.ndarray) -> float:
    """Median distance of the fits' joints from keypoints `[n, H, J, 3]` mm."""
    ours = MM * hands.joints(hands(*parts))[:, :, list(INTERHAND_ORDER)].numpy()
    return float(np.nanmedian(np.linalg.norm(ours - given, axis=-1)))


def _keypoints(path: Path, selection: Selection, fits: np.ndarray) -> np.ndarray:
    """`[n, H, J, 3]` mm in the world, of the frames of some fits; NaN where a frame has none."""
    found = np.full((len(fits), len(HANDS), JOINT_COUNT, 3), np.nan)
    _, first = np.unique(selection.fit, return_index=True)
    try:
        captures = msgspec.json.decode(regular(path).read_bytes(), type=dict[int, dict[int, msgspec.Raw]])
        for k, row in enumerate(selection.table.iloc[first[fits]].itertuples()):
            raw = captures.get(row.capture, {}).get(row.frame)
            if raw is not None:
                world = msgspec.json.decode(raw, type=Keypoints).world_coord
                both = np.reshape(world, (len(HANDS), JOINT_COUNT, 3))
                found[k] = both[::-1]  # the file has the right hand first
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not what InterHand2.6M v1.0 has there: {error}; {FETCH_AGAIN}") from error
    if np.isnan(found).all():
        raise InputError(f"{path}: no frame of the split is in it; {FETCH_AGAIN}")
    return found
