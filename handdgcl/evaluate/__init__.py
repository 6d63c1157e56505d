"""Measuring trained models: the metric, one row of samples at a time."""

from handdgcl.evaluate.handfile import read_hand_file
from handdgcl.evaluate.run import evaluate_checkpoint, evaluate_mean_hand
from handdgcl.evaluate.score import score
from handdgcl.train.checkpoint import Trained, load_model

__all__ = ["Trained", "evaluate_checkpoint", "evaluate_mean_hand", "load_model", "read_hand_file", "score"]
