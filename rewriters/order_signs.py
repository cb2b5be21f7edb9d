"""Is a sentence or bracket an order to a machine? Signs of several kinds, of which three make one.

    names a machine   speaks of rewriting (2)   of "this text"   of a form   orders or obliges   framed by signs
    speaks to a machine or wears its label   is in another language or a cipher (2)   says `you` in a bracket

Whatever the signs, a sentence that only says what machines must do may be the matter of a text: one must be of those
that prose lacks. What a reader does not see (comments, hidden tags, tokens of a chat) is none of the text. What stands
in quotation marks inside a sentence is told and not ordered. Patterns of orders by themselves: rewriters/orders.py.
"""

from __future__ import annotations

import base64
import codecs
import re

from rewriters.orders import FORM, MACHINE, PATTERNS, VERB
from rewriters.orders import known as by_patterns
from rewriters.wording import is_common, listed

HIDDEN = re.compile(
    r"<!--.*?-->|<\|im_start\|>.*?(?:<\|im_end\|>|\Z)|\[INST\].*?(?:\[/INST\]|\Z)|\A---\n.*?\n---|"
    r"<(?P<tag>\w+)\b[^<>]*(?:hidden|display|visibility|font-size|color|opacity|aria-)[^<>]*>.*?</(?P=tag)>|"
    r"<(?:meta|script|style|template|noscript)\b[^<>]*>(?:.*?</(?:script|style|template|noscript)>)?|"
    r"\[(?:BEGIN|START)\b[^\]\n]*\].*?\[(?:END|STOP)\b[^\]\n]*\]|<\|\w+\|>",
    re.DOTALL,
)
FRAMED = re.compile(
    r"-{2,} ?BEGIN\b[^\n-]{0,40}-{2,}.{5,400}?-{2,} ?END\b[^\n-]{0,40}-{2,}|｛[^｛｝]{4,}｝|"
    r"『[^『』]{4,}』|〔[^〔〕]{4,}〕|"
    r"<<(?P<sys>\w+)>>.{5,400}?<</(?P=sys)>>|\[(?P<inst>[A-Za-z]+)\].{5,400}?\[/(?P=inst)\]|"
    r"/\*.*?\*/|\{\{.*?\}\}|<<.*?>>|<(?P<name>[\w-]+)\b[^<>]*>[^<>]{5,400}</(?P=name)>|<\|\w+\|>.{5,400}?<\|\w+\|>|"
    r"\{\{#[^{}]*\}\}.{5,400}?\{\{/[^{}]*\}\}|(?P<sign>[\u2600-\u27bf\U0001f300-\U0001faff])\s.{8,300}?(?P=sign)|'''.*?'''|"
    r">{2,}.{8,400}?<{2,}|-{3,}[^\n-].{8,300}?-{3,}|\bBEGIN[ _][A-Z_]+\b.{8,400}?\bEND[ _][A-Z_]+\b|"
    r"#!.{8,300}?(?:!#|#!)|"
    r"(?P<mark>[#%~=|*:]{2,})\w[\w .-]{2,40}(?P=mark)[^\n]{8,300}?(?P=mark)(?:[A-Z /_-]{2,20}(?P=mark))?|"
    r"\*{3,}.{8,400}?\*{3,}|"
    r"(?P<bold>[*_]{2,})(?=\w).{8,400}?(?P=bold)|(?P<run>[#%~=|:]{2,}).{8,400}?(?P=run)|"
    r"\{%.*?%\}.{8,400}?\{%.*?%\}|\{[^{}]{12,}\}|\[\[?[^\[\]]{12,}\]\]?|<[a-z][^<>]{12,}>|"
    r"(?<![:\w])//(?!\s*$)[^\n]{4,300}?//(?!\w)|(?<!\w)#(?=\w*_)[^#\n]{12,300}#(?!\w)|"
    r"(?<!:)//[^\n.!?]+(?:[.!?](?!\s)[^\n.!?]*)*[.!?]?|【[^【】]{4,}】|「[^「」]{12,}」",
    re.DOTALL,
)
ASIDE = re.compile(r"\((?:[^()]|\([^()]*\)){20,}\)")
QUOTED = re.compile(r"(?<=[\w,:] )\"[^\"\n]{3,200}\"|(?<=[\w,:] )'[^'\n]{8,200}'(?!\w)|«[^»]*»")
ENOUGH, LIKELY, DOUBTFUL = 2.0, 1.5, 1.0
AI = re.compile(rf"\b{MACHINE}\b", re.IGNORECASE)
NAMED = re.compile(
    rf"\b{MACHINE}\b|\b(?:KI|IA|ИИ|modèles?|modelos?|modello|asistente|assistente|Sprachmodelle?|agents?|programs?|"
    rf"computers?|software|algorithms?|engines?|neural networks?|automated \w+|machine readers?)\b|人工智能",
    re.IGNORECASE,
)
OBLIGED = re.compile(
    rf"\b(?:must|shall|should|please|pls|kindly|are to|is to|has to|have to|needs? to|required to|asked to|"
    rf"instructed to|(?:instruct|ask|tell|order|request|invite|urge)s? (?:any|all|every|the|you)|"
    rf"you (?:are (?:to|now|an?|the|no|not)|will|agree)|could you|you're|"
    r"(?:ask|asks|request|requests|require|requires) that)\b|"
    rf"(?:^\W*|[:;,.!?)\]}}\">-] ?|\b(?:and|then|now|instead) |@\w+ )(?:do not |don't |never )?{VERB}\b",
    re.IGNORECASE,
)
NOUN = (
    r"(?:text|page|article|document|passage|piece|letter|note|notice|post|review|report|thread|section|paragraph|"
    r"message|email|story|entry|material|content|summary|site|file|log|bulletin|digest|version|transcript|recipe|"
    r"column|guide|blog|sentence|line|word)s?"
)
HERE = re.compile(
    rf"\b(?:this|these|the (?:above|following|preceding|present|whole|entire)|whatever) (?:\w+ )?{NOUN}\b|"
    r"\bthis (?:is |was |gets |has )?(?:been |being )?(?:processed|read|parsed|summari[sz]ed|translated|handled)\b|"
    r"\b(?:handl|pars|process|summari[sz]|translat|quot|read)(?:es|s|ing) (?:this|it)\b|\bthe above\b|"
    rf"\bfrom (?:here|this point) on\b|\byour (?:\w+ )?(?:copy|digest|wording|rendering|version|text)\b",
    re.IGNORECASE,
)
TASK = re.compile(  # what only who rewrites is told about
    r"\bre-?writ(?:e|es|ing|ten|er|ers)\b|\bparaphras\w+|\bre-?phras\w+|\bsystem (?:prompt|message)|"
    r"\byour (?:new |real |true |only |next |actual )?(?:task|role|objective|goal|mission|job|instructions?|persona|"
    r"output|answer|reply|response|prompt|guidelines|rewrite|summary|translation)\b|"
    r"\b(?:the|your) prompt you (?:were|have been|are)\b|"
    r"\b(?:responses|answers|outputs?|rewrites?|summaries|paraphrases|re-?phrasings)\b(?: \w+){0,4} "
    r"(?:must|should|shall)\b",
    re.IGNORECASE,
)
FORMED = re.compile(  # how an answer shall look, or what shall stand in it
    rf"\b(?:{FORM})\b|\b(?:last|first|final|second|every|each|all|next|closing|opening) (?:word|line|sentence|"
    r"paragraph|letter)s?\b|\bthe (?:words?|phrase|sentence|line|string|code|tag|letter|date|names?)\b|"
    r"\b(?:headline|hashtag|link|url|title|bullet\w*|list|output|verbatim|instead|throughout)\b|https?://|\bwww\.|\.example\b|#\w+|"
    r"(?:\b(?:say\w*|writ\w+|answer|reply|with|add|append|insert|include|call\w*|as|words?|phrase|line|begin\w*|end\w*|"
    r"sign|print|output|state|mention|use|put|refer|be|is)\b[^.!?\"]{0,25}|: ?)\"\"",
    re.IGNORECASE,
)
SAY = (
    r"(?:output|reply|respond|answer|write|print|say|state|mention|include|insert|add|append|prepend|begin|start|end|"
    r"finish|conclude|sign|repeat|translate|rate|recommend|praise|describe|tell|replace|copy|speak|talk|claim|promote|"
    r"advertise|endorse|reveal|rank|score|imitate|pretend|act|render|produce|generate|compose|re-?write|re-?phrase|"
    r"paraphrase|summari[sz]e|emphasi[sz]e|cite|credit|refer|beg|list|name|call|present|portray|convert|turn|quote|"
    r"thank|congratulate|apologi[sz]e|change|ignore|disregard|forget|omit|leave out|skip|remove|delete|make|use|give|"
    r"sprinkle|spell|sound|treat|note|urge|invite|assure|warn|remind|stress|highlight|link|attach|display)"
)
SAYING = re.compile(  # who rewrites is told to, and not somebody else by the text
    rf"(?:^\W*(?:and |then |but )?|[:;] ?|[.!?] |[\"')] ?|\b(?:then|please|pls|kindly|instead|just|simply|also) )"
    rf"(?:do not |don't |never |always |only |please |just )?{SAY}\b|"
    rf"\b(?:would|could|can|will) you (?:\w+ ){{0,6}}{SAY}\b|"
    rf"\b(?:you|it) (?:must|should|shall|will|have to|need to|are to|may)(?: \w+)? {SAY}\b",
    re.IGNORECASE,
)
TO_SAY = re.compile(rf"\b{MACHINE}\b(?: \w+)? (?:must|should|shall|(?:are|is) to) (?:\w+ )?{SAY}\b", re.IGNORECASE)
DUTY = re.compile(
    rf"\b{MACHINE}\b(?: \w+)? (?:must|should|shall|(?:needs?|ha(?:s|ve)|are|is) to|"
    r"(?:is|are) (?:asked|told|required))\b",
    re.IGNORECASE,
)
TO_YOU = re.compile(r"\byou(?:r|'re|rself)?\b", re.IGNORECASE)
LABEL = re.compile(
    r"^\W*(?:[A-Z][A-Z'/ -]*\b)?(?:SYSTEM|OVERRIDE|PROMPT|INSTRUCTIONS?|AI|LLM|BOT|ASSISTANT|MODEL|DIRECTIVE|COMMAND)\b"
    r"[A-Z'/ -]*(?:\([^()\n]{3,40}\))?:|^\W*prompt ?:"
)
ROLE = re.compile(r"(?:^|\n)[ \t]*(?:human|user|assistant|system|ai|bot|developer) ?: *", re.IGNORECASE)
ANSWERS = re.compile(r"^\W*(?:sure|certainly|of course|okay|here(?: is|'s| are))\b", re.IGNORECASE)
SPOKEN = {  # words that each language has in every second sentence, and English has not
    "fr": "le les des une dans vous votre sur avec pour par est que qui texte cher", "de": "der das die und ist nicht "
    "mit den von auf für ein eine bitte nur dass", "es": "el los las una por para con que del este texto como al",
    "it": "il gli della che di per con una questo testo è alla", "pt": "os uma para com que não este texto ao da "
    "em", "nl": "het een van niet met deze voor dat de en weg", "pl": "nie się jest że tekst na do", "sv": "och att "
    "det som en för inte på av", "da": "og det som ikke på af til denne",
}  # fmt: skip
LANGUAGES = {name: frozenset(told.split()) for name, told in SPOKEN.items()}
ENGLISH = frozenset(listed("the of and to in is that it for on with was as at by this be are from an or you your"))
OPENING = 25  # characters
OTHER_SCRIPT = re.compile(r"[\u0400-\u04ff\u0600-\u06ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{3,}")
MARKED = re.compile(r"[\[*=_]")  # signs that prose uses as well
CIPHER = re.compile(r"\b(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])[\w+/]{24,}=*")


def foreign(unit: str) -> bool:
    """Whether a unit is in another language of SPOKEN: two of its small words, and more than it has English ones."""
    told = set(re.findall(r"[^\W\d_]+", unit.lower()))
    most = max(len(words & told) for words in LANGUAGES.values())
    return most >= 2 and most > len(ENGLISH & told)


def weight(unit: str, contained: bool = False, aside: bool = False, abroad: bool = False) -> float:
    """How much a unit reads as an order to a machine.

    From ENOUGH on it is one; from LIKELY on it is where the rewrite does not tell it; from DOUBTFUL on it may be one.
    `contained` is said of what stands in a bracket or frame, `aside` of round brackets, which prose has as well, and
    `abroad` of a text that is in another language itself.
    """
    bare = (unit if contained else QUOTED.sub('""', unit)).replace("_", " ").strip("` ")
    framed = contained and not aside
    odd = framed and not MARKED.match(bare)
    known = by_patterns(bare, contained)
    obliged = bool(OBLIGED.search(bare))
    hard = (foreign(unit) and not abroad) or bool(CIPHER.search(unit)) or scrambled(unit)
    named, task, here = bool(NAMED.search(bare)), bool(TASK.search(bare)), bool(HERE.search(bare))
    formed = bool(FORMED.search(bare)) or (len(bare) > 8 and bare == bare.upper() != bare.lower())
    spoken = addressed(bare) or bool(LABEL.search(bare))
    signs = sum((  # three of them make an order, two a doubt
        named, 2 * task, here, formed, obliged, framed, spoken, 2 * hard, contained and bool(TO_YOU.search(bare)),
        odd and obliged,
    ))  # fmt: skip
    apart = task or here or spoken or odd or hard  # else what machines must say may be the matter of a text
    if OTHER_SCRIPT.search(unit) and not abroad:
        return max(known, ENOUGH if named or framed else LIKELY)
    if known >= ENOUGH or (signs >= 3 and (apart or framed) and (obliged or hard or framed)):
        return max(known, ENOUGH)
    if signs >= 2 and apart:
        return LIKELY
    return max(known, DOUBTFUL if framed or signs >= 2 else 0.0)


def asked(unit: str) -> bool:
    """Whether a sentence asks that something be said or written, or says what a machine must do."""
    return bool(SAYING.search(unit) or DUTY.search(unit))


def deciphered(unit: str) -> list[str]:
    """What stands in a unit in base64 or rot13, where it is text."""
    found = []
    for cipher in CIPHER.finditer(unit):
        try:
            found.append(base64.b64decode(cipher[0] + "=" * (-len(cipher[0]) % 4)).decode("ascii"))
        except ValueError:  # no base64, or not of text
            continue
    if scrambled(unit) and not scrambled(turned := codecs.decode(unit, "rot13")):
        found.append(turned)
    return [said for said in found if said.isprintable()]


def states(unit: str) -> bool:
    """Whether a sentence only says something, be it of prompts: it asks, obliges and addresses nobody."""
    unit = QUOTED.sub('""', unit)
    if TO_YOU.search(unit) or OBLIGED.search(unit) or LABEL.search(unit) or ROLE.match(unit) or asked(unit):
        return False
    english = ENGLISH & set(re.findall(r"[a-z]+", unit.lower())) and not foreign(unit)
    if not english or scrambled(unit) or CIPHER.search(unit) or OTHER_SCRIPT.search(unit):
        return False
    return not any(PATTERNS[name].search(unit) for name in ("to", "tags", "field", "output", "reads", "foreign"))


def addressed(bare: str) -> bool:
    """Whether a machine is spoken to at the beginning, or before a colon."""
    found = PATTERNS["to"].search(bare)
    return found is not None and (found.start() < OPENING or found[0].rstrip().endswith(":"))


def scrambled(unit: str) -> bool:
    """Whether most words are none, as in a text turned by rot13."""
    told = re.findall(r"\b[a-z]{3,}\b", unit)
    return len(told) >= 5 and sum(not is_common(w) for w in told) > 0.6 * len(told)
