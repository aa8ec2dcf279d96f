"""Ways to find K networks, compared on one data set with one budget: the parts of compare.py."""
