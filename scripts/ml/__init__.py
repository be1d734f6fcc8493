"""Thin command lines over training and serving."""
