"""Text that somebody else wrote, fit to be shown."""


def visible(text: str) -> str:
    """Control characters made visible: a key may hold a newline or a terminal's escape codes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
