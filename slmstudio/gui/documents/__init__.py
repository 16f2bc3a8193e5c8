"""Questions and answers made from documents: begin, follow, and review what is made. Shown in Data."""
