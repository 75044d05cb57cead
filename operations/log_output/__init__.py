"""Log lines on their way to standard error: a buffer and a thread that writes."""
