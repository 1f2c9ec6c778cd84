"""The backend for vLLM, in this process: the only files that import it."""
