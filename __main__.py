"""``python -m memaudit``: the command line."""

from .audit.cli.main import main

if __name__ == "__main__":  # processes that it starts import this file too
    main()
