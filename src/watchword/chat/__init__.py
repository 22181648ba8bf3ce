"""Conversations as data: types, file formats, validation, and rendering to token ids with a loss mask."""
