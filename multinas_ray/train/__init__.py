"""Ray Train's side of a search: the broker of rounds and the workers that hold the supernet.

Importing this package, its messages or its broker loads no torch; the worker loop does.
"""
