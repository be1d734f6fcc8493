"""Command lines over training and serving."""
