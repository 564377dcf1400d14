"""Draws the pictures of the documents afresh: `python -m tests.golden.draw`."""

from tests.golden.documents import DOCUMENTS, with_pictures


def main() -> None:
    """Rewrites what is between the markers of every document."""
    for document in DOCUMENTS:
        text = document.read_text()
        if (drawn := with_pictures(text)) != text:
            document.write_text(drawn)
            print(f"{document.name}: pictures drawn")


if __name__ == "__main__":
    main()
