"""Ray Tune's side of a search: searchers, trials, blocks of rounds, and what a person sees. Loads no torch."""
