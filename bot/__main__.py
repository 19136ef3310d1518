"""Hand over to the command line."""

from bot.cli import app


def main() -> None:
    """Run `contact-score`."""
    app()


if __name__ == "__main__":
    main()
