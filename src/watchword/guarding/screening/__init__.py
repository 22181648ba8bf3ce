"""Screening of a tenant's data for the provider's eyes: it informs, it changes nothing."""
