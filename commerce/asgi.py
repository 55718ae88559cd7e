"""What uvicorn serves: Django, in a bounded pool of threads.

Django's own ASGI handler holds a thread and a database connection per request for as long as it lasts; a stream
must therefore branch off here, before Django.
"""

from a2wsgi import WSGIMiddleware

from commerce.wsgi import application as django

application = WSGIMiddleware(django, workers=10)  # type: ignore[arg-type]
