"""Commands of `manage.py` that run one of this room's processes."""
