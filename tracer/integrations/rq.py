"""RQ: what is put into a queue, and the run of a job, linked to its sender; headers travel in the job's ``meta``."""

from typing import Any, Final

from opentelemetry import trace

from controltower.tracer.integrations.arrival import Arrival, read_headers
from controltower.tracer.integrations.messaging import Handling, Sending, Used
from controltower.tracer.integrations.patches import Function, Patches
from controltower.tracer.integrations.place import Place

SYSTEM: Final = "rq"
META: Final = "controltower"  # in the ``meta`` of a job
UNREADABLE: Final = "unserialized"  # stands in a ``meta`` that the library could not read, and must be saved as it was
TRIES: Final = "tries"  # there: how often it was given back, which the library does not keep
LAST_WORD_S: Final = 2.0  # that the process of one job waits for the collector; it ends without its exit handlers


def hook(patches: Patches, used: Used) -> None:
    """Replace the methods by which jobs are put into queues and run."""
    from rq import Queue
    from rq.job import Job
    from rq.worker import BaseWorker

    hooks = _Hooks(patches, used)
    patches.method(Queue, "_enqueue_job", hooks.send)
    patches.method(Queue, "schedule_job", hooks.send)
    patches.method(Job, "retry", hooks.retry)
    patches.method(Job, "perform", hooks.perform)
    patches.method(BaseWorker, "perform_job", hooks.last_word)


class _Hooks:
    """Makes the replacements. Each leaves arguments and results as they are, but for the ``meta`` of a job."""

    def __init__(self, patches: Patches, used: Used) -> None:
        self._patches = patches
        self._used = used

    def send(self, original: Function) -> Function:
        def send(queue: Any, job: Any, *arguments: Any, **named: Any) -> Any:
            # A job that comes again, or whose time has come, is put into the queue by a worker: its sender stays.
            comes_again = META in job.meta and not trace.get_current_span().get_span_context().is_valid
            if comes_again or UNREADABLE in job.meta:
                return original(queue, job, *arguments, **named)
            with Sending(self._used(), _place(job, queue.name), "enqueue", message_id=job.id) as sending:
                if headers := dict(sending.headers(())):
                    job.meta = {**job.meta, META: headers}  # the dictionary is the caller's
                return original(queue, job, *arguments, **named)

        return send

    def retry(self, original: Function) -> Function:
        def retry(job: Any, *arguments: Any, **named: Any) -> Any:
            with self._used().guard.around("RQ hook"):
                if UNREADABLE not in job.meta:
                    job.meta = {**job.meta, META: {**job.meta.get(META, {}), TRIES: _tries(job) + 1}}
            return original(job, *arguments, **named)

        return retry

    def perform(self, original: Function) -> Function:
        def perform(job: Any) -> Any:
            with Handling(self._used, job, self._arrived(job), detached=True):
                return original(job)

        return perform

    def _arrived(self, job: Any) -> Arrival | None:
        with self._used().guard.around("RQ hook"):
            headers = job.meta.get(META) if isinstance(job.meta, dict) else None
            return Arrival(
                _place(job, job.origin or ""),
                read_headers(headers.items() if isinstance(headers, dict) else ()),
                message_id=job.id,
                sent_ns=int(job.enqueued_at.timestamp() * 1_000) * 1_000_000 if job.enqueued_at else None,
                delivery_count=(job.number_of_retries or 0) + _tries(job) + 1,
            )
        return None

    def last_word(self, original: Function) -> Function:
        """Send what a process made that runs one job and then ends at once."""

        def perform_job(worker: Any, *arguments: Any, **named: Any) -> Any:
            try:
                return original(worker, *arguments, **named)
            finally:
                if worker._is_horse:
                    system = self._used()
                    system.flush(LAST_WORD_S, to_disk=bool(system.settings.durable))

        return perform_job


def _tries(job: Any) -> int:
    kept = job.meta.get(META) if isinstance(job.meta, dict) else None
    found = kept.get(TRIES, 0) if isinstance(kept, dict) else 0
    return found if isinstance(found, int) else 0


def _place(job: Any, queue: str) -> Place:
    at = job.connection.connection_pool.connection_kwargs
    return Place(SYSTEM, queue, str(at.get("host") or at.get("path") or ""), at.get("port"))
