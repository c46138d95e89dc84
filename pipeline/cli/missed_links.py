"""Links that are not followed: counted while a job runs, and said in one line at its end."""

from pipeline.cli.output import note
from pipeline.names import visible
from pipeline.types import ObjectRef


class MissedLinks:
    """Filled by the thread that plans, and read when it has ended."""

    def __init__(self) -> None:
        self.count = 0
        self.first_key = ""

    def add(self, ref: ObjectRef) -> None:
        self.count += 1
        self.first_key = self.first_key or ref.key

    def note(self) -> None:
        if not self.count:
            return
        links = "link was" if self.count == 1 else "links were"
        note(
            f"{self.count} symbolic {links} ignored, for example {visible(self.first_key)}. "
            "A link is followed when it leads to a file or folder inside the folder that you index.\n"
            "To index these pictures, too, give the folder where they are, or one that holds both."
        )
