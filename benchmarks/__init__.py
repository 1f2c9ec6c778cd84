"""How fast c3l is against the naive way, in the same process, alternating."""
