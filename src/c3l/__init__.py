"""Vision-language instruction tuning data that depends on the picture."""
