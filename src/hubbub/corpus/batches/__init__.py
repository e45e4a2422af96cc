"""OpenAI's files and batches: many questions in one file, answered as bulk, each exactly once."""
