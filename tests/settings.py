"""The product's own settings, in an environment that does not depend on who runs the tests."""

import os

os.environ.setdefault("DEBUG", "true")
os.environ.setdefault("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")
os.environ["EMAIL_URL"] = "memorymail://"
os.environ["THROTTLE_PUBLIC"] = os.environ["THROTTLE_TOKEN"] = ""

from commerce.settings import *  # noqa: F403

# The product's own takes a third of a second for each password, by design.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
