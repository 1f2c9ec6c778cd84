"""The benchmarks: what is asked, how answers are read, and the figures with their intervals."""
