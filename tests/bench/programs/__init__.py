"""Programs that a bench starts as processes of their own: each prints one line of JSON."""
