"""Images, run folders and data files; never torch."""
