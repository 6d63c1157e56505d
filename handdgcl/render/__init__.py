"""The embedded data set: rendered pairs of hands, written in InterHand2.6M's own layout."""

from handdgcl.render.dataset import twin_folder, write_dataset

__all__ = ["twin_folder", "write_dataset"]
