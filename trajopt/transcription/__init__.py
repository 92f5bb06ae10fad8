"""From continuous time to stages: integrators, collocation schemes, scaling."""
