"""Measuring trained models: the metric, one row of samples at a time."""

from handdgcl.evaluate.checkpoint import Trained, load_model
from handdgcl.evaluate.handfile import read_hand_file
from handdgcl.evaluate.run import evaluate_checkpoint, evaluate_mean_hand
from handdgcl.evaluate.score import score

__all__ = ["Trained", "evaluate_checkpoint", "evaluate_mean_hand", "load_model", "read_hand_file", "score"]
