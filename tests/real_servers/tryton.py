"""A real CRM's database: Tryton on SQLite, made by Tryton's own commands and filled by its own client.

    python tests/real_servers/tryton.py FOLDER     two files there: `before.sqlite` and `after.sqlite`

Between the two lie a merge, an archived party, a new address, a deleted party, a changed amount, a newsletter no longer
wanted. Made once on a machine (20 s of CPU) and kept where pytest keeps what lasts.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from decimal import Decimal
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
KEPT = HERE.parents[2] / ".pytest_cache" / "c360"
PACKAGES = ("trytond", "trytond-party", "trytond-sale-opportunity", "trytond-marketing-email", "proteus")


def database() -> Path:
    """The folder of the two databases, made when this machine has none of these versions and of this file."""
    made_of = sha256(HERE.read_bytes() + ":".join(map(version, PACKAGES)).encode()).hexdigest()[:16]
    folder = KEPT / f"tryton-{made_of}"
    if not folder.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as aside:
            made = Path(aside) / "made"
            made.mkdir()
            ran = subprocess.run([sys.executable, HERE, made], capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
            try:
                made.rename(folder)
            except OSError:  # another run was faster
                assert folder.is_dir()
    return folder


def make(folder: Path) -> None:
    """A new database, filled. For a process of its own: Tryton's state is the process's."""
    (folder / "crm.sqlite").touch()
    (folder / "trytond.conf").write_text(f"[database]\nuri = sqlite://\npath = {folder}\n")
    (folder / "password").write_text("not-a-secret")
    subprocess.run(
        [Path(sys.executable).parent / "trytond-admin", "-c", folder / "trytond.conf", "-d", "crm",
         "-u", "sale_opportunity", "marketing_email", "--activate-dependencies"],
        env={**os.environ, "TRYTONPASSFILE": str(folder / "password")}, input="\n", text=True, check=True,
    )  # fmt: skip
    fill(folder)
    for each in folder.iterdir():
        if each.name not in {"before.sqlite", "after.sqlite"}:
            each.unlink()


def fill(folder: Path) -> None:
    """People and their history, as an employee would enter them."""
    sys.modules["dns.exception"] = None  # type: ignore[assignment]  # Tryton then looks no address up in the DNS
    from proteus import Model, Wizard
    from proteus import config as proteus
    from trytond.modules.company.tests.tools import create_company

    session = proteus.set_trytond("sqlite:///crm", config_file=str(folder / "trytond.conf"))
    session.skip_warning = True  # "these parties have different names": yes, they have
    party_of, opportunity_of = Model.get("party.party"), Model.get("sale.opportunity")
    email_list, subscription = Model.get("marketing.email.list"), Model.get("marketing.email")

    def entered(name: str, *contacts: tuple[str, str], city: str = "") -> Any:
        party = party_of(name=name)
        party.addresses[0].city = city
        for kind, value in contacts:
            party.contact_mechanisms.new(type=kind).value = value
        party.save()
        return party

    def offered(party: Any, what: str, amount: str) -> Any:
        opportunity = opportunity_of(party=party, description=what, amount=Decimal(amount))
        opportunity.save()
        return opportunity

    create_company(party=entered("Nordlicht", ("email", "office@nordlicht.example.com")), currency="EUR")
    ada = entered("Ada Ahlers", ("email", "ada@example.com"), ("email", "ahlers@example.org"),
                  ("mobile", "+49 151 23456789"), city="Kiel")  # fmt: skip
    twin = entered("A. Ahlers", ("email", "a.ahlers@example.net"))
    bo = entered("Bo Brandt", ("email", "bo@example.com"), ("phone", "+49 30 1234567"))
    cy = entered("Cy Cramer", ("email", "cy@example.com"))
    di = entered("Di Deters", ("email", "di@example.com"))
    entered("Ed Ebert")
    offered(ada, "boots", "12.50")
    offered(twin, "tent", "199.00")
    boat = offered(bo, "boat", "1000.00")
    newsletter = email_list(name="Newsletter")
    newsletter.save()
    subscribed = [subscription(list_=newsletter, email=f"{name}@example.com") for name in ("ada", "bo")]
    subscription.save(subscribed)
    kept(folder / "crm.sqlite", folder / "before.sqlite")

    merging = Wizard("party.replace", models=[twin])
    merging.form.source, merging.form.destination = twin, ada
    merging.execute("replace")
    cy.active = False
    cy.save()
    (address,) = [each for each in bo.contact_mechanisms if each.type == "email"]
    address.value = "bo.brandt@example.com"
    address.save()
    boat.amount = Decimal("900.00")
    boat.save()
    subscribed[1].active = False
    subscribed[1].save()
    di.delete()
    entered("Fi Frank", ("email", "fi@example.com"))
    kept(folder / "crm.sqlite", folder / "after.sqlite")


def kept(live: Path, copy: Path) -> None:
    """What is committed, in one file; Tryton has more beside its own (a write-ahead log)."""
    with sqlite3.connect(live) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    connection.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
