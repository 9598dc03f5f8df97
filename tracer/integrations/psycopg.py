"""psycopg: spans by OpenTelemetry's instrumentation, which is told to keep no values; the tracer takes the SQL text off."""

from controltower.tracer.integrations.messaging import Used
from controltower.tracer.integrations.opentelemetry import turn_on
from controltower.tracer.integrations.patches import Patches


def hook(patches: Patches, used: Used) -> None:
    """Trace the statements of connections that are made from now on."""
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor

    turn_on(patches, PsycopgInstrumentor(), used, capture_parameters=False)
