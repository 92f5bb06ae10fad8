"""What gradient shooting is made of: an objective with derivatives, descents, and the search that drives them."""
