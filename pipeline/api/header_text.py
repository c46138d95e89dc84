"""The words of a header. Servers hand it on as Latin-1, and programs send UTF-8."""


def header_text(value: str) -> str:
    """As it was meant; what is no UTF-8 stays as it came."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
