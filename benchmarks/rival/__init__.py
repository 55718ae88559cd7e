"""django-webhook + Celery + Redis at the same work as ours, in an environment of its own: `python -m benchmarks.rival`.

Events that wait for one subscriber on loopback are sent, signed and logged in PostgreSQL, on the same machine, to the
same receiver. The rival's best of several set-ups counts; its settings are in shop/settings.py.
"""
