"""The tools for language models and their agents, by the Model Context Protocol."""
