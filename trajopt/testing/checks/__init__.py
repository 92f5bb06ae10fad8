"""The suite's own checks, one file a family."""
