"""`LowRankRNN`: overlaps from the recording of one session."""
