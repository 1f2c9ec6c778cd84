"""A run folder's life: the method in order, one line a stage."""
