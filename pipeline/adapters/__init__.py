"""One SDK per file. Each adapter implements a port and translates its SDK's errors at the edge."""
