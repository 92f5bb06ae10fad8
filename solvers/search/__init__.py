"""What tree searches are made of: the tree in Python's hands, evaluations, and the search of one or many trees."""
