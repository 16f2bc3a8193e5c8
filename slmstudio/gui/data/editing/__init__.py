"""How rows are changed in the Data tab: a row at a time, several datasets mixed, each written as a new version."""
