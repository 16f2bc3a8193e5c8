"""Help (F1): the glossary, the page of shortcuts, and what the program says about itself."""
