"""What a network learned first, read from its overlaps: twins and their histories."""
