"""The built-in LVLM: parts that packages ship, plus a trained connector, as an ordinary model folder."""
