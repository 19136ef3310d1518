"""Hand over to the command line."""

import gc
import sys


def main() -> None:
    """Run `contact-score`."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:  # Python hands such bytes on as halves of surrogate pairs, which no text can hold
        sys.stderr.write("One of the words after contact-score is not UTF-8: type it again.\n")
        sys.exit(1)
    gc.disable()  # nothing that is imported is garbage, and looking for it takes a third of the time
    from bot.cli import app

    gc.freeze()
    gc.enable()
    app()


if __name__ == "__main__":
    main()
