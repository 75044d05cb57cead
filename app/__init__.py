"""The program around the service: settings, the command line, logs, the process, workers."""
