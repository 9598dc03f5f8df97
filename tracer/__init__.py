"""The SDK for integration services.

>>> from controltower import tracer
>>> with tracer.step("p2p.purchase_order.dispatched", keys={"purchase_order": "PO-1042"}, amount="1250.00") as step:
...     _ = step.line(line=1, item="00810012345678", quantity="2", unit_price="625.00")
"""

from controltower.tracer.batch import Batch, BatchOptions, Record
from controltower.tracer.configure import Options, Settings
from controltower.tracer.decorating import carry
from controltower.tracer.default import (
    batch,
    configure,
    current_step,
    environment,
    flush,
    health,
    inject,
    keys,
    received,
    shutdown,
    step,
)
from controltower.tracer.errors import MissingExtraError, MisuseError, SettingError, TracerError
from controltower.tracer.hooks import Hooked, instrument, uninstrument
from controltower.tracer.integrations.fastapi import instrument_fastapi
from controltower.tracer.integrations.httpx import instrument_httpx
from controltower.tracer.integrations.messaging import processing
from controltower.tracer.sidecar import processing_file, write_sidecar
from controltower.tracer.step import Step, StepOptions
from controltower.tracer.system import Health, System

__all__ = [
    "Batch",
    "BatchOptions",
    "Health",
    "Hooked",
    "MissingExtraError",
    "MisuseError",
    "Options",
    "Record",
    "SettingError",
    "Settings",
    "Step",
    "StepOptions",
    "System",
    "TracerError",
    "batch",
    "carry",
    "configure",
    "current_step",
    "environment",
    "flush",
    "health",
    "inject",
    "instrument",
    "instrument_fastapi",
    "instrument_httpx",
    "keys",
    "processing",
    "processing_file",
    "received",
    "shutdown",
    "step",
    "uninstrument",
    "write_sidecar",
]
