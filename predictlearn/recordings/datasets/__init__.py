"""Public data sets: where they are found, how they are read, downloads."""
