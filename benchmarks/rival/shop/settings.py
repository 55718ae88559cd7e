"""django-webhook as its documentation sets it up, with what makes Celery quicker at it.

Database connections are kept between tasks, results are not stored, and Redis writes nothing to the disk.
"""

import os

SECRET_KEY = "for-a-benchmark-only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_webhook", "shop.apps.ShopConfig"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"],
        "CONN_MAX_AGE": None,
    }
}
DJANGO_WEBHOOK = {"MODELS": ["shop.Order"], "STORE_EVENTS": True, "USE_CACHE": True}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 16
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
