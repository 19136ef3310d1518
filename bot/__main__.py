"""Hand over to the command line."""

import gc


def main() -> None:
    """Run `contact-score`."""
    gc.disable()  # nothing that is imported is garbage, and looking for it takes a third of the time
    from bot.cli import app

    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
