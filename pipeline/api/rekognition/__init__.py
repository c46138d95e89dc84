"""The face collections of Amazon Rekognition's API, for clients that speak it (decision 0124)."""
