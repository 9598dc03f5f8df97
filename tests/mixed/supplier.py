"""A supplier: answers each 850 of one folder by a 997, an 855 and an 810 in another one."""

import sys
from datetime import UTC, datetime
from pathlib import Path

NOW = datetime.now(UTC)
ISA = "ISA*00*          *00*          *ZZ*V-1011         *ZZ*HOSPITAL       *{1:%y%m%d*%H%M}*U*00401*{0:09d}*0*P*>"


def interchange(control: int, function: str, code: str, body: list[str]) -> str:
    """Return an interchange with one set."""
    return "~".join(
        [
            ISA.format(control, NOW),
            f"GS*{function}*V-1011*HOSPITAL*{NOW:%Y%m%d*%H%M}*{control}*X*004010",
            f"ST*{code}*0001",
            *body,
            f"SE*{len(body) + 2}*0001",
            f"GE*1*{control}",
            f"IEA*1*{control:09d}~",
        ]
    )


inbound = Path(sys.argv[2])
for at, file in enumerate(sorted(Path(sys.argv[1]).glob("*.850"))):
    segments = [segment.split("*") for segment in file.read_text(encoding="ascii").split("~")]
    order = next(each[3] for each in segments if each[0] == "BEG")
    group = next(each[6] for each in segments if each[0] == "GS")
    lines = [each for each in segments if each[0] == "PO1"]
    confirmed = [part for each in lines for part in ("*".join(each), f"ACK*IA*{each[2]}*{each[3]}")]
    billed = ["*".join(("IT1", *each[1:])) for each in lines]
    answers = {
        "997": ("FA", [f"AK1*PO*{group}", "AK2*850*0001", "AK5*A", "AK9*A*1*1*1"]),
        "855": ("PR", [f"BAK*00*AC*{order}*{NOW:%Y%m%d}", *confirmed, f"CTT*{len(lines)}"]),
        "810": (
            "IN",
            [
                f"BIG*{NOW:%Y%m%d}*I-{order}*{NOW:%Y%m%d}*{order}***DI",
                "N1*SE*ACME*92*V-1011",
                *billed,
                "TDS*125200",
                "CTT*2",
            ],
        ),
    }
    for number, (code, (function, body)) in enumerate(answers.items(), 1):
        name = inbound / f"{order}.{code}"
        name.write_text(interchange(500 + 10 * at + number, function, code, body), encoding="ascii")
        Path(f"{name}.ok").touch()
