"""The flip-flop with erf rates, and how Gaussian loadings stay."""
