"""Networks of one function: which they are, how a task exposes them, how fast each learns."""
