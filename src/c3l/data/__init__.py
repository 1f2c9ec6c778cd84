"""Pictures, run folders and data files; never torch."""
