"""What the suite found in other packages: a script each, in the package's own words and without an adapter.

The docstring is the explanation. Its second paragraph begins with "Defect", "By design" or "Documentation", and names
the check that found it.
"""
