"""Networks in the span of their starting vectors: synapses that learn, feedback, closed loops."""
