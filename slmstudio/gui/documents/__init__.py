"""Questions and answers made from documents: starting that, following it, and reviewing what it makes. Shown in Data."""
