"""Who takes part in the simulated network: companies, facilities, vendors and what they sell. Invented names."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Final, Literal

SYSTEMS: Final = (
    "requisition-saas",
    "erp",
    "edi-gateway",
    "supplier-portal",
    "warehouse",
    "accounts-payable",
    "bank-gateway",
)
CURRENCY: Final = "USD"
FOUR_PLACES: Final = Decimal("0.0001")
CENTS: Final = Decimal("0.01")

Channel = Literal["edi", "portal", "paper"]
Line = Literal["commodity", "implant", "service"]


@dataclass(frozen=True, slots=True)
class Facility:
    """A place that orders and receives."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Company:
    """A legal entity with its own order numbers; its code is their scope."""

    code: str
    name: str
    share: float
    edi_id: str
    facilities: tuple[Facility, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """Something a vendor sells."""

    gtin: str
    uom: str
    price: Decimal
    kind: Line


@dataclass(frozen=True, slots=True)
class Vendor:
    """A supplier: how it is reached, what it sells, how fast it answers and when it wants its money."""

    code: str
    name: str
    channel: Channel
    weight: int
    line: Line
    terms_days: int
    pays_by: Literal["ach", "check"]
    invoice_prefix: str
    catalogue: tuple[Item, ...]

    @property
    def edi_id(self) -> str:
        """The partner's interchange id."""
        return f"ZZ{self.code.removeprefix('V-')}"


@dataclass(frozen=True, slots=True)
class World:
    """Everybody."""

    companies: tuple[Company, ...]
    vendors: tuple[Vendor, ...]  # those who get orders
    billers: tuple[Vendor, ...]  # those who only send invoices: utilities, law firms
    cost_centres: tuple[str, ...]

    def company(self, random: Random) -> Company:
        """Return one of the companies, the larger more often."""
        return random.choices(self.companies, [each.share for each in self.companies])[0]


_COMPANIES: Final = (
    ("1000", "North Valley Health", 0.65, ("NV-MAIN North Valley Main", "NV-EAST East Campus", "NV-CHLD Children's")),
    ("2000", "Lakeside Surgical Partners", 0.35, ("LS-SURG Lakeside Surgery", "LS-CLIN Lakeside Clinic")),
)
# Vendors that share an invoice prefix count from the same number: same invoice number, different issuer.
_VENDORS: Final = (
    ("V-1001", "Meridian Medical Supply", "edi", 24, "commodity", 10, "ach", "INV-"),
    ("V-1002", "Cascade Hospital Distribution", "edi", 20, "commodity", 10, "ach", "9"),
    ("V-1003", "Orthalign Implants", "edi", 8, "implant", 21, "ach", "OA"),
    ("V-1004", "Cardiva Devices", "edi", 7, "implant", 21, "ach", "9"),
    ("V-1005", "Summit Surgical", "edi", 9, "commodity", 14, "check", "SI-"),
    ("V-1006", "Baywater Pharma Supply", "edi", 9, "commodity", 7, "ach", "INV-"),
    ("V-1007", "Lumen Imaging Supplies", "edi", 5, "commodity", 14, "ach", "LU"),
    ("V-1008", "Northfield Laboratory Products", "edi", 6, "commodity", 14, "ach", "SI-"),
    ("V-1009", "Keystone Linen and Textile", "portal", 4, "commodity", 10, "check", "KL"),
    ("V-1010", "Harbor Foodservice", "portal", 3, "commodity", 7, "check", "INV-"),
    ("V-1011", "Fairmont Biomedical", "portal", 2, "commodity", 14, "check", "FB"),
    ("V-1012", "Spinecraft Orthopedics", "edi", 3, "implant", 21, "ach", "SC"),
)
_BILLERS: Final = (
    ("V-1901", "Tri-County Utilities", "paper", 3, "service", 14, "check", "TC"),
    ("V-1902", "Beacon Legal", "paper", 1, "service", 14, "check", "INV-"),
)
_UNITS: Final = {"commodity": ("EA", "BX", "CA", "PK"), "implant": ("EA",), "service": ("EA",)}
_PRICES: Final = {"commodity": (0.05, 180.0), "implant": (220.0, 7800.0), "service": (150.0, 9000.0)}
_CATALOGUE_SIZE: Final = 40


def make_world(rng: Random) -> World:
    """Return the network; prices and items follow from *rng*."""
    return World(
        companies=tuple(_company(*row) for row in _COMPANIES),
        vendors=tuple(_vendor(rng, *row) for row in _VENDORS),
        billers=tuple(_vendor(rng, *row) for row in _BILLERS),
        cost_centres=tuple(f"CC-{number}" for number in range(6100, 6220, 10)),
    )


def _company(code: str, name: str, share: float, places: tuple[str, ...]) -> Company:
    facilities = tuple(Facility(*place.split(" ", 1)) for place in places)
    return Company(code, name, share, f"08{code}5551000", facilities)


def _vendor(
    rng: Random,
    code: str,
    name: str,
    channel: Channel,
    weight: int,
    line: Line,
    terms_days: int,
    pays_by: Literal["ach", "check"],
    prefix: str,
) -> Vendor:
    catalogue = tuple(_item(rng, code, number, line) for number in range(_CATALOGUE_SIZE))
    return Vendor(code, name, channel, weight, line, terms_days, pays_by, prefix, catalogue)


def _item(rng: Random, vendor: str, number: int, line: Line) -> Item:
    low, high = _PRICES[line]
    price = Decimal(str(low * (high / low) ** rng.random())).quantize(FOUR_PLACES if line == "commodity" else CENTS)
    gtin = f"0081{vendor.removeprefix('V-')}{number:05d}{rng.randrange(10)}"
    return Item(gtin, rng.choice(_UNITS[line]), price, line)
