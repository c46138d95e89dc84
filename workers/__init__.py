"""The distributed way to run Pictor: the only package that imports Celery."""
