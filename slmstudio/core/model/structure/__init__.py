"""What a quick look at a model folder's files and settings shows, in hundredths of a second; it is part of every
reading of a model. What takes longer is `vetting`'s."""
