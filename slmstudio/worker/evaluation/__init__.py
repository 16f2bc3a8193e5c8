"""The evaluation job: its questions, the answers of each model, and a judge."""
