"""Sweeps: the same rows trained briefly with one parameter changed at a time, on the validation split."""
