"""The only room that knows a model family or a server."""
