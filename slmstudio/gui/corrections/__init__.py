"""Making a row of an answer: what it should have been. Used by Chat and by the answers of an evaluation."""
