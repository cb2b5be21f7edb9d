"""Which words and signs are numbers, units, months and days? The tables, and the one pattern that finds them all.

A unit is (dimension, factor to the dimension's base): `time` counts seconds, `months` months, `length` metres, `mass`
grams, `volume` litres, `share` ones, `money X` units of X. Factors are exact but for those of imperial units, which are
rounded to four digits. English only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from rewriters.wording import listed


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, longer ones first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


ONES = {word: n for n, word in enumerate(listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
))}  # fmt: skip
TENS = {word: 10 * n for n, word in enumerate(listed("twenty thirty forty fifty sixty seventy eighty ninety"), 2)}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
          "lakh": 10**5, "crore": 10**7}  # fmt: skip
SHORT_SCALES = {"k": 10**3, "m": 10**6, "mn": 10**6, "bn": 10**9, "b": 10**9, "tn": 10**12}
ORDINALS = {word: n for n, word in enumerate(listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth"
), 1)}  # fmt: skip
ORDINALS |= {w[:-1] + "ieth": n for w, n in TENS.items()}
ORDINALS |= {"hundredth": 100, "thousandth": 1000, "millionth": 10**6}
PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    w + end: n for w, n in ORDINALS.items() if n > 2 for end in ("", "s")
}
COUNTING: dict[str, int | Fraction] = {  # words that imply a number
    "once": 1, "single": 1, "sole": 1, "both": 2, "pair": 2, "couple": 2, "twice": 2, "double": 2, "doubled": 2,
    "doubles": 2, "doubling": 2, "twofold": 2, "duo": 2, "triple": 3, "tripled": 3, "threefold": 3, "trio": 3,
    "thrice": 3, "nil": 0, "quadruple": 4, "quadrupled": 4, "tripling": 3, "halved": Fraction(1, 2), "noon": 12,
    "midday": 12, "midnight": 0, "dozen": 12, "fiver": 5, "tenner": 10,
}  # fmt: skip
COUNTING |= {w + "fold": n for w, n in ONES.items() if n > 3}
PENCE = {w + "pence": n for w, n in ONES.items() if n > 1} | {"tuppence": 2}
PLURALS = {w + ("es" if w.endswith("x") else "s"): n for w, n in ONES.items() if 2 < n < 13}  # under-sixes, in threes
SPANS = {w[:-1] + "ies": n for w, n in TENS.items()}  # the nineties, her forties
VAGUE = {w + "s": n for w, n in (SCALES | {"ten": 10}).items()}
MONTHS = {name: n for n, names in enumerate((
    "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
    "september sept sep", "october oct", "november nov", "december dec",
), 1) for name in names.split()}  # fmt: skip
DAYS = {word: n for n, word in enumerate(listed("monday tuesday wednesday thursday friday saturday sunday"))}
ADVERBS = {"daily": "day", "weekly": "week", "monthly": "month", "hourly": "hour", "yearly": "year", "annual": "year",
           "annually": "year"}  # fmt: skip
UNITS: dict[str, tuple[str, Fraction]] = {
    name: (dimension, Fraction(factor))
    for dimension, table in {
        "time": {"s sec secs second seconds": "1", "min mins minute minutes": "60", "h hr hrs hour hours": "3600",
                 "ms millisecond milliseconds": "1/1000", "day days": "86400", "night nights": "86400",
                 "week weeks": "604800", "fortnight fortnights": "1209600"},
        "months": {"month months": "1", "year years yr yrs": "12", "decade decades": "120",
                   "century centuries": "1200"},
        "length": {"mm millimetre millimetres millimeter millimeters": "1/1000",
                   "cm centimetre centimetres centimeter centimeters": "1/100", "m metre metres meter meters": "1",
                   "km kilometre kilometres kilometer kilometers": "1000", "mile miles": "1609",
                   "foot feet ft": "3048/10000", "inch inches": "254/10000", "yard yards": "9144/10000"},
        "mass": {"mg milligram milligrams": "1/1000", "g gram grams gramme grammes": "1",
                 "kg kilo kilos kilogram kilograms kilogramme": "1000", "tonne tonnes ton tons": "1000000",
                 "ounce ounces oz": "2835/100", "lb lbs": "4536/10"},
        "volume": {"ml millilitre millilitres milliliter milliliters": "1/1000", "cl": "1/100",
                   "l litre litres liter liters": "1", "gallon gallons": "3785/1000", "pint pints": "568/1000"},
        "area": {"hectare hectares ha": "1", "acre acres": "4047/10000"},
        "power": {"w watt watts": "1", "kw kilowatt kilowatts": "1000", "mw megawatt megawatts": "1000000",
                  "gw gigawatt gigawatts": "1000000000"},
        "energy": {"wh watt-hour watt-hours": "1", "kwh kilowatt-hour kilowatt-hours": "1000", "mwh": "1000000"},
        "frequency": {"hz hertz": "1", "khz kilohertz": "1000", "mhz megahertz": "1000000",
                      "ghz gigahertz": "1000000000"},
        "data": {"kb kilobyte kilobytes": "1/1000", "mb megabyte megabytes": "1", "gb gigabyte gigabytes": "1000",
                 "tb terabyte terabytes": "1000000"},
        "degree": {"degree degrees ° °c °f celsius fahrenheit": "1"},
        "share": {"% percent pct percentage-points percentage-point": "1/100"},
        "money usd": {"$ us$ usd dollar dollars buck bucks": "1", "cent cents": "1/100"},
        "money gbp": {"£ gbp quid": "1", "pence": "1/100"},
        "money eur": {"€ eur euro euros": "1"},
        "money jpy": {"¥ jpy yen": "1"},
        "money inr": {"₹ inr rupee rupees": "1"},
    }.items()
    for names, factor in table.items() for name in names.split()
}  # fmt: skip
MONTH_DAYS = (28, 30, 31)  # days that a text may take a month for
POUNDS = ("pound", "pounds")
POUND = {"pounds": Fraction(1), "money gbp": Fraction(1), "mass": Fraction("453.6")}  # of money or of weight
VULGAR = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8), "⅜": (3, 8),
          "⅝": (5, 8)}  # fmt: skip

WORD_NUMBER = (
    rf"(?:(?:an?|half\ an?)[ ](?:{any_of(SCALES)})"
    rf"|(?:hundred|thousand)(?=[ -](?:and[ -])?(?:{any_of([*ONES, *TENS])})\b)"
    rf"|(?:{any_of([*ONES, *TENS, *ORDINALS])})(?![a-z]))"
    rf"(?:(?:[ -]|[ ]and[ ]|-and-)(?:{any_of([*ONES, *TENS, *SCALES, *ORDINALS])})(?![a-z]))*"
)
MIXED = r"\d{1,3}[ -](?:1/[23468]|2/3|[35]/4|[357]/8|1/16)(?![\d/])"  # 1 1/2
COMMA = r"(?:(?<=€)|(?<=EUR[ ]))\d{1,3},\d\d(?!\d)|\d{1,3},\d\d(?=[ ]?(?:€|eur\b|euros?\b))"  # 1,50 euros
DIGITS = rf"{MIXED}|{COMMA}|(?:\d{{1,3}}(?:[,']\d{{3}})+|\d{{1,3}}(?:[ ]\d{{3}})+(?![\d])|\d+)(?:\.\d+)?|\.\d+"
NOONS = {"noon": 12, "midday": 12, "midnight": 0}
MERIDIEM = r"[ ]?[ap]\.?m\b\.?"
HOUR = rf"(?:{any_of([*ONES, *NOONS])}|\d{{1,2}})\b"
MINUTES = rf"(?:{any_of(TENS)})(?:-(?:{any_of(ONES)}))?|{any_of(ONES)}|\d{{1,2}}"
ROMAN = r"(?-i:I[IVX]|III|V|VI{1,3}|X|X(?:I{1,3}|IV|VI{0,3}|IX)|XX(?:I{0,3}|IV|VI{0,3}|IX))"
SHORT_DAY = r"Mon|Tues?|Weds?|Thu(?:rs?)?|Fri|Sat|Sun"
STAR, EMPTY = "★⭐✭✮🌟", "☆✩"
BEFORE = r"(?:(?<![\w.])|(?<=[a-z]\.)|(?<=\d[xh])|(?<=\d(?:hr|ft)))"  # p.14, 20x30, 1h30, 4ft6
NUMBER = re.compile(rf"(?P<digits>{DIGITS})|(?P<words>{WORD_NUMBER})\b", re.IGNORECASE)
PIECES = re.compile(  # what a number may be, the more telling first; `skip` is none
    rf"""(?P<skip>\b24/7\b|\b50[-/:]50\b|\bfifty-fifty\b|\bone's\b
        |\b(?:no|the|this|that|any|each|every)[ ]one\b
        |\bone[ ](?:another|of|by[ ]one|can|could|may|might|must|should|would|is)\b
        |https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.\w+|\[\d{{1,3}}\])
    |(?P<stars>[{STAR}](?:[ \ufe0f]?[{STAR}]){{2,}}(?:[ ]?½)?(?:[ \ufe0f]?[{EMPTY}])*
        |[{STAR}](?:[ \ufe0f]?[{STAR}])*(?:[ ]?½)?(?:[ \ufe0f]?[{EMPTY}])+|[{EMPTY}]{{3,}})
    |(?P<item>(?m:^)[ ]*[(]?\d{{1,2}}[.)](?=\s+\S)
        |(?<=:[ ])1[.)](?=[ ][A-Z][a-z])|(?<=;[ ])\d{{1,2}}[.)](?=[ ][A-Z][a-z]))
    |\b(?P<last>last[ ]day(?=[ ]of[ ](?:{any_of(MONTHS)})\b))
    |(?P<iso>\b\d{{4}}-\d{{2}}-\d{{2}}\b)
    |(?P<slash>\b\d{{1,2}}(?P<sep>[/.])\d{{1,2}}(?P=sep)(?:\d{{4}}|\d{{2}})\b)
    |(?P<clock>\b\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:{MERIDIEM})?|\b\d{{1,2}}(?:\.\d{{2}})?{MERIDIEM}
        |\b(?:half|(?:a[ ])?quarter)[ ](?:past|to)[ ]{HOUR}
        |\b(?:five|ten|twenty|twenty-five)(?:[ ]minutes)?[ ](?:past|after)[ ]{HOUR}
        |\b(?:{MINUTES})[ ](?:past|to)[ ](?:{any_of(NOONS)})\b
        |\b(?:{MINUTES})[ ]minutes[ ](?:past|after|to|before)[ ]{HOUR}
        |\b(?:{any_of(ONES)}|\d{{1,2}})[ ]o'clock|\b(?:12|twelve)[ ](?:noon|midday|midnight)\b)
    |\b(?P<quarter>(?:Q[1-4]|(?:first|second|third|fourth|last|final)[ ]quarter)(?![ ]of[ ]an?[ ]))\b
    |(?P<code>(?<![\w-])(?:(?!(?:{any_of(MONTHS)})-\d{{1,2}}\b)[A-Za-z]+-?\d|\d+(?:\.\d+){{2,}})(?:[\w.-]*\w)?)
    |\b(?P<more>(?:an?|one)[ ](?P<moreunit>{any_of([u for u in UNITS if u.isalpha()])})[ ]and[ ]a[ ]
        (?P<morepart>half|quarter|third))\b
    |(?P<part>(?<!/)\b\d{{1,3}}/\d{{1,3}}\b(?!/))
    |(?P<digits>{BEFORE}(?:{DIGITS})(?:[ ]?[{"".join(VULGAR)}])?|[{"".join(VULGAR)}])
    |\b(?P<spans>(?:(?:eighteen|nineteen)[ -])?(?:{any_of(SPANS)}))\b
    |\b(?P<words>{WORD_NUMBER})\b
    |\b(?P<half>(?:half|quarter)\b)
    |\b(?P<counting>{any_of(COUNTING)})\b
    |(?<=[a-z][ ])(?P<roman>{ROMAN})\b(?!['.]\w)
    |\b(?P<shortday>{SHORT_DAY})\b
    |\b(?P<bare>(?:second|minute|hour|day|week|fortnight|month|year|decade|century)(?:[ ]and[ ]a[ ](?:half|quarter))?
        |{any_of(ADVERBS)})\b
    |\b(?P<vague>{any_of(VAGUE)})\b
    |(?<=per[ ])(?P<per>(?:{any_of(SCALES)}))\b
    |\b(?P<week>weekdays?|weekends?|working[ ]days?)\b
    |\b(?P<pence>{any_of(PENCE)})\b
    |\b(?P<plural>{any_of(PLURALS)})\b
    |\b(?P<day>{any_of(DAYS)})s?\b
    |\b(?P<month>{any_of(MONTHS)})\b""",
    re.VERBOSE | re.IGNORECASE,
)
SCALE_AFTER = re.compile(
    rf"(?:[ -]?(?P<scale>{any_of(SCALES)})s?\b|(?P<letter>(?:bn|mn|tn|[kmb]))\b(?!\.\w))?", re.IGNORECASE
)
HALF_MORE = re.compile(
    r"[ -]and[ -](?:a[ -])?(?P<over>half)\b|[ -]and[ -]a[ -](?P<less>quarter|third)\b|"
    r"[ -]and[ -](?P<n>three)[ -]quarters\b",
    re.IGNORECASE,
)
PART_AFTER = re.compile(rf"[ -](?P<part>{any_of(PARTS)})\b", re.IGNORECASE)
UNIT_AFTER = re.compile(
    rf"[ -]?(?:per[ ]cent|percentage[ ]points?|({any_of([*UNITS, *POUNDS])})(?![a-z°]))", re.IGNORECASE
)
OF_UNIT = re.compile(
    rf"(?:(?:-| an? | of an? )({any_of(UNITS)})|"
    r" (hour|day|year|century|decade|mile|pint|litre|liter|minute|month|kilo))\b",
    re.IGNORECASE,
)
PART_OF_UNIT = re.compile(rf" of an? ({any_of(UNITS)})\b", re.IGNORECASE)
OF_SCALE = re.compile(rf"(?:-| an? | of an? )({any_of(SCALES)})\b", re.IGNORECASE)
MONEY_BEFORE = re.compile(r"(?:US|A|C)?([$£€¥₹])[ ]?$|\b(USD|GBP|EUR|JPY|INR)[ ]?$")
SUFFIX = re.compile(r"(?P<ordinal>st|nd|rd|th)\b|'?(?P<plural>s)\b", re.IGNORECASE)
COUNTED = re.compile(r"\b(?:all|the|these|those|its|their|his|her) $", re.IGNORECASE)
