"""Measured comparisons with other software, on the same problems and in one process run: ``python -m bench``."""
