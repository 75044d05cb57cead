"""What operators see: the admin API and its dashboard, metrics, traces, `takedown top`."""
