"""What the ready sources of patients' documents send: all that joins and counts passes the redaction policy, and no patient does."""

import os
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from controltower.collector.lenient import lenient
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.collector.scrapers.definition import FolderSource, parse_sources
from controltower.collector.scrapers.encoding import Request
from controltower.collector.scrapers.folder import FolderReader
from controltower.collector.scrapers.mapper import Mapper
from controltower.collector.scrapers.mapping import Policies
from controltower.collector.scrapers.packs import packs
from controltower.tracer.tokens import Key, Tokeniser

KEYS = (Key(1, b"k" * 32),)
OF_PATIENTS = (
    *("DOE", "JANE", "ROE", "M123", "M124", "R07", "PCN-", "ICN-", "99213", "20261101"),
    *("MRN-1", "19700101", "A-77", "V-9", "F-1", "24725"),
)


@pytest.mark.parametrize("name", ["x12_claims", "hl7"])
def test_what_is_sent(name: str, tmp_path: Path) -> None:
    """Every attribute is as it was mapped, and no number, name or code of a patient is in it."""
    (source,) = parse_sources(packs()[name], name).sources.values()
    assert isinstance(source, FolderSource)
    assert source.data == "phi"
    for number, test in enumerate(source.tests):
        file = tmp_path / f"given.{number}"
        file.write_text(test.given, encoding="utf-8")
        os.utime(file, (0, 0))
        reading = source.model_copy(update={"files": (str(file),)})
        reader = FolderReader(reading, time.time_ns)
        mapper = Mapper(reading, name, Policies(default_policy(), Tokeniser(KEYS)), time.time_ns)
        request = Request("billing")
        for step in mapper.map(reader.read().records, reader).steps:
            request.add(step)
        mapped = ExportTraceServiceRequest.FromString(request.encoded())
        redacted = lenient(ExportTraceServiceRequest).FromString(request.encoded())
        Redactor(default_policy(), KEYS)("traces", redacted)

        assert ExportTraceServiceRequest.FromString(redacted.SerializeToString()) == mapped
        assert [word for word in OF_PATIENTS if word in str(mapped)] == []
