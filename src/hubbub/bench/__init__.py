"""Load generators and the numbers they take."""
