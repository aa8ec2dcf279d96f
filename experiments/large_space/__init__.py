"""Search on a space too large to enumerate, with a fixed evaluator: how fast K networks within K targets get good."""
