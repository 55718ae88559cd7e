"""Where Django looks for it."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is kept from one request to the next: looked at, not asked, before it is used again."""

    health_check_done: bool

    def close_if_health_check_failed(self) -> None:
        """Close it if the server has gone.

        A server that stops, or ends a session, says so: there is something to read where nothing was asked. Only then
        is it worth a statement to find out what. One of a dozen, for each request, otherwise.
        """
        if self.connection is not None and _is_silent(self.connection.fileno()):
            self.health_check_done = True
        super().close_if_health_check_failed()


def _is_silent(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)
