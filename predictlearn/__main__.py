"""The command line as ``python -m predictlearn``."""

from predictlearn.cli import main

if __name__ == "__main__":
    main()
