"""A check of what only a GPU can show: options, the bench, the parts by theme and the loop over them."""
