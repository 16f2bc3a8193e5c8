"""What a look at a model folder's files and settings tells, in some hundredths of a second: part of every reading of a
model. What takes longer is `vetting`'s."""
