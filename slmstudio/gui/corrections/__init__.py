"""What a person says of answers: what they should have been, and blind votes. Used by Chat and by evaluations."""
