"""The shapes on the wire, one file a family: requests are read strictly, answers match the official client's types."""
