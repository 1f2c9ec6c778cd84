"""The content relevance module in the words of the paper: no files, no transformers."""
