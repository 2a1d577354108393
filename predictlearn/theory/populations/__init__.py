"""Several populations of neurons in one network, each with its own overlaps."""
