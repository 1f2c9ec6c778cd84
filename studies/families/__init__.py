"""Which families of LVLMs c3l can do what with, each tried on a tiny model of its kind."""
