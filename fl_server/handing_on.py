"""What a task's message carries for the logs and traces of whoever does the task."""

from typing import Any

from celery import Task
from celery.signals import before_task_publish, worker_process_shutdown, worker_shutdown

from fl_server import tracing
from fl_server_core import log_context, spans

REQUEST, TRACE = "fl_request", "fl_trace"
"""The headers."""


@before_task_publish.connect
def hand_on(headers: dict[str, Any], **_kwargs: Any) -> None:
    """Give the message the request's id, and the span that the task follows from."""
    told = {REQUEST: log_context.current_request_id(), TRACE: spans.carried()}
    headers.update({name: value for name, value in told.items() if value})


class FollowingTask(Task):  # type: ignore[type-arg]  # whose stubs name what it returns
    """A task that goes on with what its message carries.

    The ids stay until the next task begins, because Celery logs an error only after this.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it; called as a function it is a part of what calls it."""
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        tracing.begin()  # here, because only those processes that do tasks come by
        log_context.begin(request=self.request.get(REQUEST))
        carried = self.request.get(TRACE) or {}
        with spans.span(f"run {self.name}", kind="CONSUMER", carried=carried):
            return super().__call__(*args, **kwargs)


@worker_process_shutdown.connect
@worker_shutdown.connect
def end_traces(**_kwargs: Any) -> None:
    """Send the last spans of a worker, or of one of its pool's processes."""
    tracing.end()
