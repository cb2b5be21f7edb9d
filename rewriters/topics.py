"""What is a text about, whatever is done in it? A hashed tf-idf vector of its content words, conduct left out.

    text --words of three letters or more, less COMMON and CONDUCT--> counts in BUCKETS --tf-idf--> unit vector

Twins are meant to differ in conduct and in nothing else; words of conduct would make every pair of roles differ. The
lists are short and English: what they miss shows in the report of the match as a topic that tells the roles apart.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

TOPICS_VERSION = "1"
BUCKETS = 2048
WORD = re.compile(r"[^\W\d_]{3,}")
# Words that any text has.
COMMON = frozenset(
    """
    about above after again against all also although always among and another any anyone are around away back because
    been before begin being below between both but came can cannot come could day did does doing done down during each
    either else enough even ever every few first for from get give goes going gone got had has have having her here
    hers him his how however into its itself just keep kept last later least less let like made make many may might
    more most much must near never new next nobody nor not nothing now off often once one only onto other our out over
    own per put quite rather said same saw say says see seen set she should since some something soon still such take
    taken than that the their them then there these they thing this those though three through till time told too took
    two under until upon use used very want was way week well went were what when where whether which while who whom
    whose why will with within without word work would year yes yet you your
    """.split()  # noqa: SIM905
)
# Beginnings of words that tell of conduct.
CONDUCT = tuple(
    """
    abus admit agree allow apolog aware betray blame bypass careful cheat choice choos chose conceal confess consent
    correct deceiv deceit decept decid decis declin delet deliberate denied deny dishonest disobe doubt duty error
    ethic evad excus fake false falsif fooled forge fraud guilt harm hide hidden hiding honest
    honour ignor illegal innocen integrity invent justif lied lies lying manipul mislead misled mistake misus moral
    noticed obey permi pretend pretext promis proper refus regret report resist respons secret shame silen sneak steal
    stole stolen suppress suspici tempt theft transparen trick trust truth unfair unsafe violat warn withh wrong
    """.split()  # noqa: SIM905
)


def topic_words(text: str) -> list[str]:
    """Content words in lower case, in the order of the text."""
    return [w for w in WORD.findall(text.lower()) if w not in COMMON and not w.startswith(CONDUCT)]


def topic_vectors(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors (float32, a row a text of `texts`, BUCKETS columns); a text without content words is a zero vector.

    A word's weight falls with the texts that have it, so a vector depends on which texts it was made beside.
    """
    counts = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in enumerate(texts):
        for word, n in Counter(topic_words(text)).items():
            counts[row, zlib.crc32(word.encode()) % BUCKETS] += n
    seen = (counts > 0).sum(0)
    vectors = np.log1p(counts) * np.log((len(texts) + 1) / (seen + 1) + 1).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)
