"""What a tenant may upload to break a model: one file each, found by name."""
