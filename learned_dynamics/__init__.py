"""Models that are dynamics, and the agents that use them."""
