"""`StochasticLowRankRNN`: networks with process noise, by Kalman filter and smoother."""
