"""OpenTelemetry spans of takedowns; loaded only when `TAKEDOWN_TRACES` asks for them."""
