"""The words by which a selector names jobs: tags and owners."""

#: Of the columns that hold them.
MAX_LENGTH = 100
#: What a word must be, for an error.
RULE = f"give 1 to {MAX_LENGTH} printable characters without a comma"


def is_selectable(word: str) -> bool:
    """Whether a selector such as tag:WORD can name it; a comma separates selectors."""
    return 0 < len(word) <= MAX_LENGTH and "," not in word and word.isprintable()
