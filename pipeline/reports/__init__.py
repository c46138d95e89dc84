"""What a log comes to: acts in tables, and what a reviewer may want to look at. Values in, values out."""
