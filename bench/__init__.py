"""Measured comparisons with other software, on the same discretised problems, in one process run: ``python -m bench``."""
