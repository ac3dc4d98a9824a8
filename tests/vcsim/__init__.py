"""A vCenter to test against: our own short Go program over Debian's govmomi simulator. Begin at run.py."""
