"""How many chats fit, how fast, how long for a gigabyte: models, hardware, step time, simulation, reports."""
