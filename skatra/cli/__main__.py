"""``python -m skatra.cli``."""

from skatra.cli import main

main()
