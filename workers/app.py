"""The Celery application. `celery -A workers.app …` finds `app` here; Flower does so too."""

from celery import Celery

from pipeline.settings import Settings
from workers.broker.celery_app import make_app


def __getattr__(name: str) -> Celery:
    # Made when it is asked for, so that importing this module reads no environment.
    if name == "app":
        app = make_app(Settings.from_env())
        app.set_current()
        globals()["app"] = app
        return app
    raise AttributeError(name)
