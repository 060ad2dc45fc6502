"""The same job done by others, each in a process of its own that prints what it measured as JSON."""
