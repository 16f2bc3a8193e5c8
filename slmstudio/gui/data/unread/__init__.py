"""What is shown of files that aren't read yet: their first rows, and what is asked about them."""
