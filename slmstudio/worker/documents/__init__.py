"""The job that makes questions and answers from passages: `make` is the job, `teachers` lets the models write."""
