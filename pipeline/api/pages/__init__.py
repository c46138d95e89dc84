"""Pages for people, rendered here. Scripts and styles are files of this package."""
