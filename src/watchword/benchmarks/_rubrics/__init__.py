"""What language models are told when they judge: one text each, written for Watchword."""
