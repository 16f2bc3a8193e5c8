"""What is shown of files that aren't read yet: what can be read, its progress, first rows, what is asked of them."""
