"""Pictures with known truth: scenes, their questions, the oracle, and the training of the built-in LVLM."""
