"""The screened optimiser: a surrogate chooses which proposals are evaluated; for fixed losses only."""
