"""What the planners of finite decision processes share: the table of states, and error bounds of its values."""
