"""``python -m stream``: the same as ``groundswell``."""

from stream.cli import main

if __name__ == "__main__":
    main()
