"""What the service does, shown to a person: one poisoned file, tuned without a defense and with it, from the tenant's side."""
