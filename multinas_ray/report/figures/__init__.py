"""Figures of a run: each drawn by one function, for a picture file and for a page alike."""
