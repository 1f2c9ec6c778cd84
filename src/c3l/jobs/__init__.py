"""Work that needs no run: score, finetune, evaluate."""
