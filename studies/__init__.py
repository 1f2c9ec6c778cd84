"""Studies that stand beside the package: they use it, it never imports them."""
