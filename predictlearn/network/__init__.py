"""The N-neuron network that the theory describes, in O(N R) a step."""
