"""Where images and annotations come from: the user's data set, or one that is rendered on first use."""

import hashlib
import json
import shutil
from pathlib import Path

from handdgcl.config import Config, to_dict
from handdgcl.files import InputError, code_digest, holding, write_file
from handdgcl.hands import Hands
from handdgcl.hands.mano import OPEN_HAND
from handdgcl.render.dataset import HANDS_MARK, write_dataset

GENERATED = "generated"  # the value of `data.source` that asks for a rendered data set


def open_source(config: Config, hands: Hands, folder: Path) -> Path:
    """The folder that holds images/ and annotations/: the user's, or one that is rendered on first use.

    Args:
        config: `data.source` says which data set.
        hands: the hands to render.
        folder: where a rendered data set goes. One that the same parameters, hands and code left there is
            used again, so an interrupted preparation does not render twice.

    Raises:
        InputError: the user's data set is of other hands, or another process renders.
    """
    if config.data.source != GENERATED:
        return _of_these_hands(Path(config.data.source), config.data.hands, hands)
    code = code_digest(write_dataset.__module__, leave_out=("handdgcl.config",))
    wanted = hashlib.sha256(
        json.dumps([to_dict(config.generate), code, hands.fingerprint()]).encode()
    ).hexdigest()
    stamp = folder.with_suffix(".sha256")
    with holding(folder, "renders these hands"):
        if not (folder.is_dir() and stamp.is_file() and stamp.read_text() == wanted):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            write_dataset(folder, config.generate, hands, workers=config.data.workers)
            write_file(stamp, wanted)
    return folder


def _of_these_hands(folder: Path, name: str, hands: Hands) -> Path:
    """A data set that these hands may pose; a rendered one says which they are, others are of MANO's."""
    mark = folder / HANDS_MARK
    its_own = mark.read_text() == hands.fingerprint() if mark.is_file() else name != OPEN_HAND
    if not its_own:
        raise InputError(
            f"data.hands = {name!r}: the fits of {folder} were made for other hands; of InterHand2.6M, name "
            "the folder that holds MANO_LEFT.pkl and MANO_RIGHT.pkl"
        )
    return folder
