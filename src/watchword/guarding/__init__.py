"""Guarding data for any trainer at any size: a tenant's file in, a guarded file and the trainer's settings out."""
