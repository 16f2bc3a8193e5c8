"""Evaluations: what is asked of which models, what they answered, and how two runs compare.

`testset` reads the files with questions, `scores` computes figures from answers. The models answer in
`worker.answering`.
"""
