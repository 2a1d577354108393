"""What is wrong with a fit: residuals, loadings, dynamics."""
