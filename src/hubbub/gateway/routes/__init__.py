"""The handlers, one file a family, and the one table that names them."""
