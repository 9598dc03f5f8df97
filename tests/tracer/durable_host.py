"""A service with durable export that emits numbered steps until it is killed; run by ``test_durable``.

Prints ``stored N`` when all steps below N are on the disk. Every tenth step has a span beside it that is none.
"""

import sys
from pathlib import Path

from controltower import tracer

AT_ONCE = 200


def main(folder: Path, endpoint: str, token: str, first: int, last: int) -> None:
    """Emit the steps from *first* up to *last*, and wait for the end of the input."""
    system = tracer.System(
        service="erp", endpoint=endpoint, token=token, durable=folder, durable_reserve_bytes=0, timeout_s=5.0
    )
    library = system.provider.get_tracer("library")
    for begin in range(first, last, AT_ONCE):
        for number in range(begin, min(begin + AT_ONCE, last)):
            with system.step("a.b.c", name=f"step {number}", keys={"purchase_order": f"PO-{number}"}):
                if number % 10 == 0:
                    library.start_span(f"other {number}").end()
        assert system.flush(30, to_disk=True)
        print("stored", min(begin + AT_ONCE, last), flush=True)
    print("done", flush=True)
    sys.stdin.read()
    print("empty", system.flush(60), flush=True)
    system.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
