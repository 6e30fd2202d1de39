"""``python -m skatra``."""

from skatra.cli import main

main()
