"""The screened optimiser, in which a surrogate chooses what is evaluated; for fixed losses only."""
