"""The HTTP service: one application, beside a folder's index or in front of a cluster's.

Routes parse, call one use case of `pipeline.service` and write its result.
"""
