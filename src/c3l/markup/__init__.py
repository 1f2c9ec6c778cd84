"""Marks that texts carry and models mean: images, thoughts."""
