"""The backend for transformers: the only files that import it, beside the built-in LVLM."""
