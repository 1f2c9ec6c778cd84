"""The settings: their schema, how they are read, how they are listed."""
