"""Tuning an LVLM: on positives and negatives."""
