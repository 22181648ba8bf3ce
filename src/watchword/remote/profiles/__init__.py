"""One file a remote fine-tuning API: what differs between them."""
