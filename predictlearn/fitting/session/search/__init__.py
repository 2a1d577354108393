"""The search over dynamics, every neuron's regression solved on the way."""
