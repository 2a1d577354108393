"""A-B-A: what returns when a task is learned again."""
