"""`LearningFit`: overlaps, seen and hidden, from how a network learns over sessions."""
