"""What survives a kill; knows no image and no model."""
