"""Training one row of the study."""
