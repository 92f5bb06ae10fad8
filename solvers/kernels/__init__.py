"""Compiled loops that the solvers share. Each works on arrays that its caller allocated, and allocates nothing."""
