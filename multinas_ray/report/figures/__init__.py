"""The figures of a run. One function draws each of them, for a picture file as well as for a page."""
