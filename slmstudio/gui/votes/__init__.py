"""All blind votes by pair of models, and what they say; used by Chat and by the answers of an evaluation."""
