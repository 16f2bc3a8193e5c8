"""Test sets: reading questions and references from any file, and changing single rows."""
