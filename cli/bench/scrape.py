"""How fast lines of a log and documents become spans that a collector acknowledged: by a scraper in a process of its own."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from controltower.cli.bench.usage import usage_of
from controltower.cli.errors import CommandError
from controltower.cli.shapes import Json
from controltower.cli.text import table

COMMAND: Final = (sys.executable, "-P", "-m", "controltower.cli")
WRITTEN_AT_ONCE: Final = 10_000  # lines
DOCUMENTS: Final = 100  # of a file
MOST_DOCUMENTS: Final = 50_000  # a folder holds a tenth of the files that a source may have
SINCE: Final = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Form:
    """A format that is measured: a line or a document of it, and the rule that finds a step in it."""

    name: str
    line: Callable[[int, datetime], str]
    source: str
    documents: bool = False  # in files of an interchange each, and not lines of one log


@dataclass(frozen=True, slots=True)
class Scraped:
    """What it took."""

    form: str
    lines: int
    log_bytes: int
    seconds: float  # the start of the process included
    scraper_cpu_s: float
    collector_cpu_s: float | None
    peak_bytes: int  # of the scraper

    @property
    def per_second(self) -> float:
        """Return lines a second."""
        return self.lines / self.seconds


def _text(number: int, at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S},{number % 1000:03d} INFO  [edi-{number % 8}] sent purchase order PO-{number} to V-{number % 400}, {number % 9973}.50 USD"


def _json(number: int, at: datetime) -> str:
    return json.dumps(
        {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{number % 1000:03d}Z",
            "level": "INFO",
            "event": "sent",
            "order": {"id": f"PO-{number}", "vendor": f"V-{number % 400}"},
            "amount": number % 9973 + 0.5,
        }
    )


def _access(number: int, at: datetime) -> str:
    return (
        f"10.0.{number % 200}.7 - erp [{at:%d/%b/%Y:%H:%M:%S} +0000] "
        f'"POST /orders/PO-{number}/lines HTTP/1.1" 201 {number % 4000} "-" "erp-adapter/3.1"'
    )


def _order(number: int, at: datetime) -> str:
    """Return an order of five lines, as a set of X12."""
    lines = "".join(f"PO1*{line}*{number % 40}*BX*125.{line}0**VN*A-{number % 9973}~" for line in range(1, 6))
    control = f"{number % DOCUMENTS + 1:04d}"
    return (
        f"ST*850*{control}~BEG*00*SA*PO-{number}**{at:%Y%m%d}~CUR*BY*USD~N1*ST*MAIN*92*DOCK-1~N1*SE*ACME*92*V-{number % 400}~"
        f"{lines}CTT*5~AMT*TT*{number % 9973}.50~SE*13*{control}~"
    )


def _interchange(number: int, sets: list[str], at: datetime) -> str:
    """Return an interchange of orders."""
    return (
        f"ISA*00*          *00*          *ZZ*HOSPITAL       *ZZ*V-1011         *{at:%y%m%d*%H%M}*U*00401*{number:09d}*0*P*>~"
        f"GS*PO*HOSPITAL*V-1011*{at:%Y%m%d*%H%M}*{number}*X*004010~{''.join(sets)}GE*{len(sets)}*{number}~IEA*1*{number:09d}~"
    )


FORMS: Final = (
    Form(
        "text",
        _text,
        r"""
    rules:
      - match: {line: '^(?P<at>\S+ \S+) INFO .*sent purchase order (?P<po>\S+) to (?P<vendor>\S+), (?P<amount>\S+) (?P<currency>\S+)$'}
        step: p2p.purchase_order.dispatched
        time: at
        keys: {purchase_order: po}
        context: {vendor: vendor}
        amount: amount
        currency: currency
""",
    ),
    Form(
        "json",
        _json,
        r"""
    format: json
    rules:
      - when: {event: sent}
        step: p2p.purchase_order.dispatched
        keys: {purchase_order: $.order.id}
        context: {vendor: $.order.vendor}
        amount: amount
        currency: {text: USD}
""",
    ),
    Form(
        "access_combined",
        _access,
        r"""
    format: access_combined
    rules:
      - when: {method: POST}
        match: {path: '^/orders/(?P<po>[^/]+)/lines$'}
        step: p2p.purchase_order.created
        style: api
        keys: {purchase_order: po}
        outcome: {field: status, do: [{map: {'201': ok}, else: exception}]}
""",
    ),
    Form(
        "x12",
        _order,
        r"""
    format: x12
    rules:
      - when: {ST01: '850'}
        step: p2p.purchase_order.dispatched
        style: edi
        keys:
          purchase_order: BEG03
          interchange: {text: '{ISA06}|{ISA08}|{ISA13}'}
          group: {text: '{GS02}|{GS03}|{GS01}|{GS06}'}
          set: {text: '{GS02}|{GS03}|{GS01}|{GS06}|{ST02}'}
        context: {vendor: 'N1[SE]04', location: 'N1[ST]04', edi_transaction_set: ST01}
        business_time: {field: BEG05, format: '%Y%m%d'}
        currency: CUR02
        amount: AMT[TT]02
        lines: {each: PO1, line: PO101, item: PO1/VN, quantity: PO102, uom: PO103, unit_price: PO104}
""",
        documents=True,
    ),
)


def write_log(path: Path, form: Form, lines: int) -> int:
    """Write so many lines, and return how many bytes they are."""
    numbered = (form.line(number, SINCE + timedelta(seconds=number // 50)) + "\n" for number in range(lines))
    with path.open("w", encoding="utf-8") as log:
        while piece := "".join(islice(numbered, WRITTEN_AT_ONCE)):
            log.write(piece)
    return path.stat().st_size


def write_documents(folder: Path, form: Form, documents: int) -> int:
    """Write so many documents, in files of an hour ago, and return how many bytes they are."""
    folder.mkdir()
    written = 0
    hour_ago = time.time() - 3600
    for number, begin in enumerate(range(0, documents, DOCUMENTS), 1):
        sets = [form.line(each, SINCE) for each in range(begin, min(begin + DOCUMENTS, documents))]
        file = folder / f"{number:09d}.edi"
        file.write_text(_interchange(number, sets, SINCE), encoding="ascii")
        os.utime(file, (hour_ago, hour_ago))
        written += file.stat().st_size
    return written


def bench_scrape(
    folder: Path, lines: int, endpoint: str, token: str, collector: tuple[int, ...], progress: Callable[[str], None]
) -> Iterator[Scraped]:
    """Scrape a log or a folder of each format, written in *folder*, into the collector of the processes *collector*."""
    for form in FORMS:
        progress(f"{form.name}: {lines:,} are written")
        written = folder / f"{form.name}.log"
        if form.documents:
            amount = min(lines, MOST_DOCUMENTS)
            size, kind, files = write_documents(written, form, amount), "folder", written / "*.edi"
        else:
            amount, size, kind, files = lines, write_log(written, form, lines), "log", written
        sources = folder / f"{form.name}.yaml"
        sources.write_text(
            f"sources:\n  bench-{form.name.replace('_', '-')}:\n    kind: {kind}\n    files: ['{files}']{form.source}",
            encoding="utf-8",
        )
        progress(f"{form.name}: they are scraped")
        yield _scraped(form, sources, folder, amount, size, endpoint, token, collector)
        shutil.rmtree(written) if form.documents else written.unlink()


def _scraped(
    form: Form,
    sources: Path,
    folder: Path,
    lines: int,
    size: int,
    endpoint: str,
    token: str,
    collector: tuple[int, ...],
) -> Scraped:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = usage_of(collector)
    since = time.perf_counter()
    ran = subprocess.run(
        [*COMMAND, "scrape", str(sources), "--once", "--json", "--quiet", "--data", str(folder / form.name)],
        env={
            **os.environ,
            "CONTROLTOWER_ENDPOINT": endpoint,
            "CONTROLTOWER_TOKEN": token,
            "CONTROLTOWER_TOKEN_FILE": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - since
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise CommandError(f"The scraper failed: {ran.stderr.strip().splitlines()[-1:] or ran.returncode}.")
    (source,) = json.loads(ran.stdout)["sources"]
    if source["steps"] != lines:
        raise CommandError(f"{source['steps']:,} of {lines:,} records became steps.")
    now = usage_of(collector)
    return Scraped(
        form.name,
        lines,
        size,
        took,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        now.cpu_s - used.cpu_s if now and used else None,
        after.ru_maxrss * 1024,
    )


def scraped_json(found: list[Scraped], endpoint: str) -> Json:
    """Return what is printed for programs."""
    return {
        "collector": endpoint,
        "cases": [
            {
                "format": each.form,
                "lines": each.lines,
                "log_bytes": each.log_bytes,
                "seconds": round(each.seconds, 3),
                "lines_per_s": round(each.per_second),
                "scraper_cpu_s": round(each.scraper_cpu_s, 3),
                "collector_cpu_s": None if each.collector_cpu_s is None else round(each.collector_cpu_s, 3),
                "scraper_peak_bytes": each.peak_bytes,
            }
            for each in found
        ],
    }


def scraped_text(found: list[Scraped]) -> str:
    """Return what is printed for people."""
    rows = [
        [
            each.form,
            f"{each.lines:,}",
            f"{each.per_second:,.0f}",
            f"{each.seconds:.1f}",
            f"{each.scraper_cpu_s / each.lines * 1e6:.1f}",
            "" if each.collector_cpu_s is None else f"{each.collector_cpu_s / each.lines * 1e6:.1f}",
            f"{each.peak_bytes / 1024**2:.0f}",
        ]
        for each in found
    ]
    head = ("FORMAT", "RECORDS", "RECORDS/S", "SECONDS", "SCRAPER µs/RECORD", "COLLECTOR µs/RECORD", "PEAK MiB")
    return table(rows, head=head, right=(1, 2, 3, 4, 5, 6))
