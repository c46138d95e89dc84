"""What the process ends with; scripts rely on it."""

EXIT_UNFINISHED = 1  # the work could not be finished, or too much of it failed
EXIT_USAGE = 2  # bad usage or configuration: nothing was started
EXIT_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
