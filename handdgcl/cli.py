"""The command `handdgcl`. What a command needs is imported when it runs, so that `--help` is quick."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from handdgcl.files import InputError
from handdgcl.project import BAD_INPUT, complain

SOME_FAILED = 1  # exit code where some images of several could not be used
SHIPPED = Path(__file__).parents[1] / "reports" / "default" / "model.safetensors"

log = logging.getLogger("handdgcl")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None = the process's own.

    Returns:
        the exit code: 0; 2 for input that cannot be used (one line on stderr says what and why); 1 where
        some of several images could not be used; 130 if it was interrupted.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except InputError as error:
        complain(error)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130  # as shells say it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="handdgcl", description="Two-hand 3D reconstruction, HandDGCL reproduced."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    _add_score(commands)
    return parser


def _add_predict(commands: argparse._SubParsersAction) -> None:
    predict = commands.add_parser(
        "predict",
        help="reconstruct both hands of photographs",
        description="Writes, for each image, an overlay and a skeleton (PNG), both meshes (OBJ, GLB; metres) "
        "and the joints (JSON). Files of the same name are replaced.",
    )
    predict.add_argument(
        "images",
        nargs="+",
        type=_path,
        metavar="IMAGE",
        help="JPEG, PNG … with two hands, or a folder of them",
    )
    predict.add_argument(
        "--checkpoint",
        default=SHIPPED,
        type=_path,
        help="checkpoint.safetensors of a trained row; default: DGCLNet* of the default profile",
    )
    predict.add_argument(
        "--box",
        type=_box,
        metavar="X,Y,W,H",
        help="box in px, tight around both hands, for every image (--box=-5,… where it starts outside; "
        "InterHand2.6M's own bbox is 1.2 times that); default: the image's centre square",
    )
    predict.add_argument(
        "--boxes",
        type=_path,
        metavar="JSON",
        help='a box for each image: {"a.jpg": [x, y, width, height], …}; goes before --box',
    )
    predict.add_argument(
        "--hands", metavar="DIR", help="folder of the hand models; default: where training had it"
    )
    predict.add_argument("--out", required=True, type=_path, metavar="DIR", help="folder for the results")
    predict.set_defaults(command=_predict)


def _add_score(commands: argparse._SubParsersAction) -> None:
    score = commands.add_parser(
        "score",
        help="measure any method's two-hand meshes",
        description="Prints a table of all errors. Each file is an .npz with left and right, [N, 778, 3] in "
        "metres; a prediction may have joints_left and joints_right, [N, 21, 3], alone. Optional: those "
        "joints, otherwise regressed; image_id, [N], which joins the files; the truth's intrinsics, [3, 3] "
        "or [N, 3, 3], for pixel errors, masks and bins by overlap; left_px and right_px, [N, 778, 2], where "
        "a prediction has a camera of its own.",
    )
    score.add_argument("--pred", required=True, type=_path, metavar="NPZ", help="the predicted hands")
    score.add_argument("--truth", required=True, type=_path, metavar="NPZ", help="the true hands, same pairs")
    score.add_argument(
        "--hands",
        default="open",
        metavar="DIR",
        help="folder with MANO_LEFT.pkl and MANO_RIGHT.pkl, if the meshes are MANO's; default: the open hand",
    )
    score.add_argument("--positions", action="store_true", help="positions only: no penetration, no masks")
    score.add_argument("--out", type=_path, metavar="JSON", help="also write all of it, with errors by joint")
    score.set_defaults(command=_score)


def _path(text: str) -> Path:
    """A path, "~" being the user's folder, which a shell does not say in --out=~/x."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # a name that begins so
        return Path(text)


def _box(text: str) -> tuple[float, ...]:
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: four numbers are wanted, X,Y,W,H") from None
    return x, y, width, height


def _predict(options: argparse.Namespace) -> int:
    from handdgcl.evaluate import load_model
    from handdgcl.report.doubts import read_doubts
    from handdgcl.report.photograph import Box, find_images, read_boxes
    from handdgcl.report.predict import predict_image

    images = find_images(options.images)
    boxes = read_boxes(options.boxes) if options.boxes else {}
    if unknown := sorted(set(boxes) - {image.name for image in images}):
        raise InputError(f"{options.boxes}: {unknown[0]}: no such image among those given")
    everywhere = Box(*options.box) if options.box else None
    trained, failed = load_model(options.checkpoint, hands=options.hands), 0
    about = {"checkpoint": str(options.checkpoint), "doubts": read_doubts(options.checkpoint)}
    for image in images:
        box = boxes.get(image.name, everywhere)
        try:
            written, words = predict_image(image, trained, box=box, out=options.out, **about)
        except InputError as error:  # the others are still wanted
            complain(error if str(image) in str(error) else InputError(f"{image}: {error}"))
            failed += 1
            continue
        for path in written:
            log.info("%s", path)
        for doubt in words:
            log.warning("%s: %s", image, doubt)
    if failed and len(images) > 1:
        log.info("%d of %d images could not be used", failed, len(images))
    return 0 if not failed else BAD_INPUT if failed == len(images) else SOME_FAILED


def _score(options: argparse.Namespace) -> None:
    from handdgcl.evaluate.handfile import read_hand_file
    from handdgcl.evaluate.score import score, score_table
    from handdgcl.files import write_json
    from handdgcl.hands import load_hands

    prediction, truth = read_hand_file(options.pred), read_hand_file(options.truth)
    found = score(prediction, truth, load_hands(options.hands), interaction=not options.positions)
    print(score_table(found), flush=True)  # first: writing can fail
    if options.out:
        write_json(options.out, found | {"hands": options.hands})
