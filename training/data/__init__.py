"""Interactions, sequences, negatives and batches."""
