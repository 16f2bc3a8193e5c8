"""Documents become questions and answers, each tied to the sentence that it comes from.

`reading` gets text, headings and pages out of files, `passages` cuts it, `teacher` says which models can ask and
answer, `prompting` what they are told and how their output is read, `evidence` checks each pair against its passage,
and `project` keeps everything on the disk and writes the dataset. The models themselves work in `slmstudio.worker`.
"""
