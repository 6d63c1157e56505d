"""Measuring trained models and any method's hands."""

from handdgcl.train.checkpoint import Trained, load_model

__all__ = ["Trained", "load_model"]
