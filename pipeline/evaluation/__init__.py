"""How often a model is wrong, on labelled vectors: functions of arrays, and what they give."""
