"""The embedded data set: rendered pairs of hands, written in InterHand2.6M's own layout."""

from handdgcl.render.dataset import write_dataset

__all__ = ["write_dataset"]
