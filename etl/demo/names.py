"""What the fictional company's world is made of: names, streets, goods, words. Nothing here is about a real person."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Land:
    """One country of the demo: how its people are called, where they live, what they pay with."""

    code: str
    title: str
    continent: str
    share: float
    currency: str
    language: str
    men: tuple[str, ...]
    women: tuple[str, ...]
    families: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[tuple[str, str], ...]  # (town, first digits of its postal code)


def _words(text: str) -> tuple[str, ...]:
    """The words of a line, so that a list of names reads like one."""
    return tuple(text.split())


_DE_MEN = _words(
    "Alexander Andreas Benjamin Christian Daniel David Dirk Elias Fabian Felix Florian Frank Georg Hannes Henrik "
    "Jan Jens Johannes Jonas Julian Karl Klaus Konrad Lars Leon Lukas Manuel Marcel Markus Martin Matthias Max "
    "Michael Moritz Nils Oliver Oskar Patrick Paul Peter Philipp Ralf Robert Sebastian Simon Stefan Sven Thomas Tim "
    "Tobias Uwe Volker Wolfgang"
)
_DE_WOMEN = _words(
    "Alina Andrea Anja Anna Antonia Astrid Barbara Bettina Birgit Britta Carolin Charlotte Christina Claudia "
    "Daniela Elisabeth Emilia Emma Eva Franziska Greta Hannah Heike Helena Ines Jana Johanna Julia Karin Katharina "
    "Katja Laura Lea Lena Lisa Luise Magdalena Maria Marlene Mia Miriam Monika Nadine Nele Nina Paula Petra Sabine "
    "Sandra Sarah Sophie Stefanie Susanne Theresa Ulrike Vanessa"
)
_DE_FAMILIES = _words(
    "Ahrens Albrecht Arnold Bauer Baumann Beck Becker Berger Bergmann Bock Böhm Brandt Braun Busch Dietrich Ebert "
    "Engel Erdmann Fischer Förster Frank Franke Friedrich Fuchs Gärtner Graf Groß Günther Haas Hahn Hartmann "
    "Heinrich Herrmann Hoffmann Hofmann Horn Huber Jäger Jahn Jung Kaiser Keller Klein Koch Köhler König Krämer "
    "Kraus Krause Krüger Kuhn Kühn Lang Lange Lehmann Lorenz Ludwig Maier Martin Mayer Meier Meyer Möller Müller "
    "Neumann Otto Peters Pfeiffer Pohl Richter Roth Sauer Schäfer Schmid Schmidt Schmitt Schmitz Schneider Scholz "
    "Schreiber Schröder Schubert Schulte Schulz Schumacher Schuster Schwarz Seidel Simon Sommer Stein Thomas Vogel "
    "Vogt Voigt Wagner Walter Weber Wei Weiß Werner Winkler Winter Wolf Wolff Ziegler Zimmermann"
)
_DE_STREETS = (
    "Hauptstraße", "Bahnhofstraße", "Gartenweg", "Lindenallee", "Schulstraße", "Am Markt", "Bergstraße",
    "Birkenweg", "Kirchgasse", "Mühlenweg", "Goethestraße", "Schillerplatz", "Rosenstraße", "Feldweg",
    "Waldstraße", "Uferstraße", "Ahornweg", "Brunnenstraße",
)  # fmt: skip

LANDS = (
    Land(
        code="DE",
        title="Germany",
        continent="Europe",
        share=0.62,
        currency="EUR",
        language="de",
        men=_DE_MEN,
        women=_DE_WOMEN,
        families=_DE_FAMILIES,
        streets=_DE_STREETS,
        cities=(
            ("Berlin", "10"),
            ("Hamburg", "20"),
            ("München", "80"),
            ("Köln", "50"),
            ("Leipzig", "04"),
            ("Dresden", "01"),
            ("Bremen", "28"),
            ("Hannover", "30"),
            ("Nürnberg", "90"),
            ("Stuttgart", "70"),
            ("Kiel", "24"),
            ("Freiburg", "79"),
        ),
    ),
    Land(
        code="AT",
        title="Austria",
        continent="Europe",
        share=0.08,
        currency="EUR",
        language="de",
        men=_DE_MEN,
        women=_DE_WOMEN,
        families=_DE_FAMILIES,
        streets=_DE_STREETS,
        cities=(("Wien", "1"), ("Graz", "8"), ("Linz", "4"), ("Salzburg", "5")),
    ),
    Land(
        code="GB",
        title="United Kingdom",
        continent="Europe",
        share=0.12,
        currency="GBP",
        language="en",
        men=_words(
            "Adam Alfie Andrew Arthur Benjamin Callum Charles Christopher Daniel Edward Finlay George Harry Henry "
            "Jack James Joseph Joshua Liam Matthew Michael Nathan Oliver Oscar Robert Samuel Theodore Thomas "
            "William"
        ),
        women=_words(
            "Abigail Alice Amelia Beatrice Catherine Charlotte Chloe Daisy Eleanor Elizabeth Emily Evelyn Florence "
            "Freya Grace Harriet Isabella Jessica Katherine Margaret Matilda Olivia Phoebe Rosie Rebecca Sophie "
            "Victoria"
        ),
        families=_words(
            "Allen Bailey Baker Barnes Bennett Brooks Brown Carter Chapman Clarke Collins Cooper Cox Davies Dixon "
            "Edwards Ellis Evans Fletcher Foster Gibson Graham Green Griffiths Hall Harris Harrison Hill Hughes "
            "Hunt Jackson Jenkins Johnson Jones Kelly King Knight Lewis Marshall Mason Mills Mitchell Moore Morgan "
            "Morris Murphy Owen Palmer Parker Phillips Pearce Powell Price Reid Richards Roberts Robinson Rogers "
            "Russell Shaw Simpson Smith Stevens Taylor Thompson Turner Walker Ward Watson Webb White Wilkinson "
            "Wilson Wood Wright Young"
        ),
        streets=(
            "High Street",
            "Station Road",
            "Church Lane",
            "Mill Road",
            "Park Avenue",
            "Victoria Street",
            "Green Lane",
            "Manor Road",
            "The Crescent",
            "Queensway",
        ),
        cities=(("London", "SW1A "), ("Leeds", "LS1 "), ("Bristol", "BS1 "), ("York", "YO1 "), ("Bath", "BA1 ")),
    ),
    Land(
        code="PL",
        title="Poland",
        continent="Europe",
        share=0.1,
        currency="PLN",
        language="pl",
        men=_words(
            "Adam Andrzej Bartosz Dawid Filip Grzegorz Jakub Jan Kamil Krzysztof Marcin Marek Mateusz Piotr Pawel "
            "Rafal Szymon Tomasz Wojciech"
        ),
        women=_words(
            "Agnieszka Aleksandra Anna Barbara Beata Dorota Ewa Hanna Joanna Julia Karolina Katarzyna Magdalena "
            "Maja Monika Natalia Oliwia Wiktoria Zofia Zuzanna"
        ),
        families=_words(
            "Adamczyk Baran Czarnecki Dudek Duda Gorski Jankowski Jaworski Kaczmarek Kalinowski Kaminski Kowalczyk "
            "Kowalski Kozlowski Krawczyk Krol Kubiak Lewandowski Lis Majewski Malinowski Mazur Michalski Nowak "
            "Nowicki Olszewski Pawlak Pietrzak Piotrowski Sikora Stepien Szewczyk Walczak Wieczorek Wilk Wisniewski "
            "Wojcik Wozniak Wrobel Zajac Zawadzki Zielinski"
        ),
        streets=(
            "ul. Polna",
            "ul. Lesna",
            "ul. Ogrodowa",
            "ul. Szkolna",
            "ul. Lipowa",
            "al. Jana Pawla",
            "ul. Kwiatowa",
        ),
        cities=(("Warszawa", "00-"), ("Krakow", "30-"), ("Gdansk", "80-"), ("Wroclaw", "50-")),
    ),
    Land(
        code="US",
        title="United States",
        continent="Americas",
        share=0.08,
        currency="USD",
        language="en",
        men=_words(
            "Aaron Anthony Brandon Brian Charles Christopher Daniel David Dylan Edward Ethan Gregory Jacob James "
            "Jeffrey John Joseph Joshua Kevin Logan Mark Matthew Michael Nicholas Richard Robert Ryan Steven "
            "Timothy William"
        ),
        women=_words(
            "Amanda Amy Ashley Barbara Brittany Catherine Deborah Elizabeth Emily Hannah Heather Jennifer Jessica "
            "Kathleen Kimberly Linda Lisa Madison Margaret Megan Melissa Nancy Nicole Patricia Rachel Rebecca "
            "Samantha Sarah Susan"
        ),
        families=_words(
            "Adams Allen Anderson Baker Brown Campbell Carter Clark Collins Davis Diaz Edwards Evans Flores Garcia "
            "Gonzalez Green Hall Harris Hernandez Hill Jackson Johnson Jones King Lee Lewis Lopez Martin Martinez "
            "Miller Mitchell Moore Nelson Nguyen Parker Perez Phillips Ramirez Roberts Robinson Rodriguez Sanchez "
            "Scott Smith Taylor Thomas Thompson Torres Turner Walker White Williams Wilson Wright Young"
        ),
        streets=("Main St", "Oak Ave", "Maple Dr", "Cedar Ln", "2nd St", "Washington Blvd", "Lakeview Rd", "Elm St"),
        cities=(("Springfield", "627"), ("Portland", "972"), ("Columbus", "432"), ("Austin", "787"), ("Denver", "802")),
    ),
)

NICKNAMES = {
    "Alexander": "Alex", "Aleksandra": "Ola", "Andreas": "Andi", "Andrew": "Andy", "Anthony": "Tony",
    "Barbara": "Babsi", "Benjamin": "Ben", "Catherine": "Cathy", "Charles": "Charlie", "Charlotte": "Lotte",
    "Christian": "Chris", "Christina": "Tina", "Christopher": "Chris", "Daniel": "Dan", "David": "Dave",
    "Deborah": "Debbie", "Edward": "Ed", "Eleanor": "Ellie", "Elisabeth": "Lisa", "Elizabeth": "Liz",
    "Florian": "Flo", "Franziska": "Franzi", "Gregory": "Greg", "Jacob": "Jake", "James": "Jim",
    "Jennifer": "Jenny", "Jessica": "Jess", "Johannes": "Hannes", "Joseph": "Joe", "Joshua": "Josh",
    "Katarzyna": "Kasia", "Katharina": "Kathi", "Katherine": "Kate", "Kathleen": "Kathy", "Krzysztof": "Krzys",
    "Kimberly": "Kim", "Magdalena": "Lena", "Malgorzata": "Gosia", "Margaret": "Maggie", "Matilda": "Tilly",
    "Matthew": "Matt", "Matthias": "Matze", "Michael": "Mike", "Nicholas": "Nick", "Nicole": "Nicki",
    "Patricia": "Pat", "Patrick": "Paddy", "Philipp": "Phil", "Rebecca": "Becky", "Richard": "Rick",
    "Robert": "Rob", "Samantha": "Sam", "Samuel": "Sam", "Sebastian": "Basti", "Stefanie": "Steffi",
    "Steven": "Steve", "Susanne": "Susi", "Theodore": "Theo", "Thomas": "Tom", "Timothy": "Tim",
    "Tobias": "Tobi", "Tomasz": "Tomek", "Victoria": "Vicky", "William": "Will", "Wolfgang": "Wolf",
    "Zuzanna": "Zuza",
}  # fmt: skip

# `.example` can never be registered (RFC 2606), so no address here can be anybody's.
MAIL_HOSTS = ("kestrelmail.example", "postbote.example", "inboxly.example", "webpost.example", "mailhaus.example")
FIRM_WORDS = (
    "Adler",
    "Birke",
    "Delta",
    "Elbe",
    "Falke",
    "Granit",
    "Hafen",
    "Isar",
    "Kranich",
    "Linde",
    "Merkur",
    "Nova",
)
FIRM_KINDS = ("Bau", "Logistik", "Design", "Consulting", "Technik", "Labs", "Handel", "Druck")

GOODS = (
    ("Outdoor", "Fjell", (("Zelt Polar 2", 249.0), ("Schlafsack Tundra", 139.9), ("Rucksack Grat 35", 119.0),
                           ("Isomatte Moos", 49.9), ("Stirnlampe Aurora", 34.9), ("Kocher Glut", 59.0))),
    ("Apparel", "Norden", (("Regenjacke Sund", 159.0), ("Fleece Hygge", 69.9), ("Merinoshirt Skog", 79.9),
                            ("Wollsocken 3er", 24.9), ("Mütze Frost", 29.9), ("Handschuhe Eis", 39.9))),
    ("Home", "Hus", (("Wolldecke Stilla", 89.9), ("Kerze Fichte", 19.9), ("Becher Emaille", 14.9),
                      ("Kissen Lav", 34.9), ("Tischlampe Lys", 99.0), ("Vase Is", 44.9))),
    ("Kitchen", "Smak", (("Pfanne Jern 28", 79.0), ("Messer Kniv", 64.9), ("Brett Eiche", 39.9),
                          ("Kanne Te", 54.9), ("Thermosflasche 0,7", 32.9), ("Schürze Lin", 29.0))),
    ("Garden", "Eng", (("Gießkanne Zink", 36.9), ("Pflanzset Kräuter", 22.9), ("Feuerschale Brann", 149.0),
                        ("Hängematte Ro", 74.9), ("Vogelhaus Fugl", 27.9))),
    ("Kids", "Troll", (("Lauflernrad Elch", 89.0), ("Puzzle Wald", 17.9), ("Regenstiefel Pytt", 29.9),
                        ("Kuscheltier Fuchs", 24.9))),
    ("Smart", "Lumen", (("Sensor Klima", 49.0), ("Lampe Lumen Mini", 69.0), ("Waage Lumen Fit", 79.0))),
)  # fmt: skip

# (language, mood, text); {} takes the product
POSTS = (
    ("de", 1, "Bin begeistert von {}! Tolle Qualität und super schnell geliefert."),
    ("de", 1, "{} ist wunderbar, genau wie beschrieben. Danke!"),
    ("de", 1, "Richtig gute Beratung im Laden, {} macht viel Freude."),
    ("de", -1, "{} nach zwei Wochen kaputt. Sehr enttäuscht."),
    ("de", -1, "Seit Tagen keine Antwort vom Kundendienst wegen {}. Ärgerlich!"),
    ("de", -1, "Leider viel zu teuer und schlecht verarbeitet: {}."),
    ("de", 0, "Hat jemand Erfahrung mit {}? Überlege noch."),
    ("de", 0, "Heute {} ausgepackt, morgen geht es in die Berge."),
    ("en", 1, "Absolutely love my {}! Great quality and fast delivery."),
    ("en", 1, "{} is fantastic, best purchase this winter."),
    ("en", 1, "Really happy with the service, {} works perfectly."),
    ("en", -1, "My {} broke after a week. Very disappointed."),
    ("en", -1, "Terrible support, still waiting for a refund for {}."),
    ("en", -1, "{} is overpriced and poorly made. Avoid."),
    ("en", 0, "Has anyone tried {}? Still deciding."),
    ("en", 0, "Unboxed {} today, off to the hills tomorrow."),
)

BROWSERS = (
    ("desktop", "Windows", "Chrome",
     "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"),
    ("desktop", "Macintosh", "Safari",
     ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
     "Safari/605.1.15")),
    ("desktop", "Windows", "Firefox",
     "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    ("mobile", "iOS", "Safari",
     ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
     "Mobile/15E148 Safari/604.1")),
    ("mobile", "Android", "Chrome",
     "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"),
    ("tablet", "iOS", "Safari",
     ("Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
     "Mobile/15E148 Safari/604.1")),
)  # fmt: skip
BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "python-requests/2.32.3",
)

# (share, source, medium, referrer) of a session nobody paid for
ORGANIC = (
    (0.36, "(direct)", "(none)", ""),
    (0.33, "google", "organic", "https://www.google.com/"),
    (0.06, "bing", "organic", "https://www.bing.com/"),
    (0.07, "bergfreunde-blog.example", "referral", "https://bergfreunde-blog.example/tests"),
    (0.08, "instagram.com", "social", "https://www.instagram.com/"),
    (0.10, "google", "cpc", "https://www.google.com/"),
)
