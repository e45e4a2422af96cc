"""What a text must be, beside new: language, script, length, repetition, refusals, leaks."""
