"""Seeded mistakes, and the proof that the conformance suite notices each."""
