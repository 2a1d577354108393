"""Two arms or more compared in one call: which test, for what it was made, and how many animals.

`asked` turns options into a question, `compare_table` puts it to a table of animals and
`compare_protocols` to runs of protocols; `resampled_power` says what other numbers of animals would
show, and `comparison_report` makes a page of it all.
"""
