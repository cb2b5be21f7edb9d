"""By which words does a page give orders to a machine? Patterns, each with its weight.

    speaks to a machine 1.5     overrides what was asked 2    speaks of a machine that reads it 2    fixes the form 2
    says "your answer" 1        tags of a chat 1              orders in other languages 1          any order 0.5

`known` takes the largest and half a point for each further one. Orders in German, French, Spanish, Italian, Portuguese,
Dutch, Polish, Russian, Swedish, Danish, Chinese and Japanese are known by a few verbs each.
"""

from __future__ import annotations

import re

from rewriters.wording import listed

MACHINE = (
    r"(?:AIs?|A\.I\.|LLMs?|GPT\S*|ChatGPT|Claude|Gemini|Copilot|KI|IA|robots?|machines?|\w*bots?|assistants?|"
    r"(?:large )?(?:language )?models?|re-?writers?|auto-?writers?|re-?phrasers?|summari[sz]ers?|paraphrasers?|"
    r"(?:AI|automat\w+|artificial|autonomous|rewriting|paraphrasing|summari[sz]ing|translation|language|writing|"
    r"editing|reader's)[- ](?:agents?|models?|systems?|tools?|readers?|editors?|(?:re)?writers?|helpers?|assistants?|"
    r"services?|processors?|translators?|software|crawlers?|intelligences?)|translators?|crawlers?|scrapers?)"
)
HANDLING = (
    r"(?:read(?:s|ing)?|process(?:es|ing)?|re-?writ(?:es?|ing)|re-?phras(?:es?|ing)|summari[sz](?:es?|ing)|"
    r"paraphras(?:es?|ing)|quot(?:es?|ing)|pars(?:es?|ing)|translat(?:es?|ing)|handl(?:es?|ing)|edit(?:s|ing)?|"
    r"cit(?:es?|ing))"
)
VERBS = listed(
    "output reply respond answer write print say state mention include insert add append prepend begin start end "
    "finish conclude sign repeat translate rate recommend praise list describe tell report replace use copy explain "
    "give sprinkle speak talk treat stop claim declare close open put place quote promote advertise endorse note "
    "remember reveal show change call swap omit remove delete leave refuse pretend act render return produce "
    "generate compose rewrite rephrase paraphrase summarise summarize keep make refer link visit buy thank confirm "
    "assert emphasise emphasize stress ensure attach display emit credit rank score switch set mark ignore disregard "
    "forget skip highlight imitate invent continue convert turn apologise apologize greet congratulate sound avoid "
    "drop beg substitute let consider provide adopt present recite spell portray select send switch behave respond"
)
VERB = f"(?:{'|'.join(VERBS)})"
LEAD = (
    r"(?:(?:please|pls|kindly|must|then|and|instead|now|also|just|simply|always|but|so|finally|"
    r"you (?:must|should|will|shall|are to|need to|have to)|must not|should not|to) )"
)
ORDER = rf"(?:(?:^|[:;,!?.)\]}}>\"*/#-] ?){LEAD}{{0,2}}|\b{LEAD})(?:do not |don't |never |not )?{VERB}\b"
FORM = (
    r"json|xml|yaml|html|csv|markdown|french|german|spanish|italian|dutch|latin|portuguese|russian|chinese|japanese|"
    r"arabic|english only|one (?:word|sentence|line)|(?:two|three|four|five) (?:words|sentences|lines)|capitals|"
    r"capital letters|"
    r"upper ?case|lower ?case|all caps|verse|rhymes?|rhyming|bullet points|emojis?|first person|second person|"
    r"the (?:style|voice|manner|tone) of|a pirate|pirate|base64|reverse"
)
PIECE = (
    r"poem|haiku|limerick|sonnet|song|joke|rap|recipe|slogan|advert\w*|disclaimer|hashtag|link|emoji|smiley|signature|"
    r"greeting|apology|password|code|story|list of"
)
SOUGHT = {  # name -> (weight, pattern); case matters in none
    "to": (1.5, (
        rf"\b(?:dear|hello|hi|hey|attention|note|notice|message|memo|instructions?|directions?|requests?|reminder|"
        rf"orders?|hint|p\.?s\.?|addressed|warning|text|important|task|command|advice|for|to|liebe|lieber|cher|chère|"
        rf"querid[ao])\b,?[ ]+"
        rf"(?:to |for |an |à |a |all |any |every |the |our |your |whichever |whatever |die |das |l'|la |el |"
        rf"liebe )*{MACHINE}\b(?:[^.!?\n]{{0,60}}[:,!]| (?:only|who|that|which)\b)"
        rf"|(?:^|[(\[{{/*%#<!>@-]|[.,;:!?] |\bwhile you are here, |^\W*(?:and )?since you, the ){{1,3}}\W*(?:any |all |"
        rf"the )?"
        rf"{MACHINE}(?: \w+){{0,4}} ?[:,] ?|(?:^|[(\[{{/*%#<!>@-]|[.!?] )\W*(?:\w+ ){{1,2}}{MACHINE}: |@(?:assistant|"
        rf"ai|bot)\b|\b(?:if|when|since|because|as) you(?:'re| are) (?:an? |the )?(?:\w+ )?{MACHINE}\b"
        rf"|\b(?:using|with|through|via) (?:an? )?{MACHINE}\b[^.!?]{{0,30}}, (?:please|kindly)"
        rf"|\b(?:any|all|every|each) {MACHINE}\b[^.!?\n]{{0,40}}\b{HANDLING} (?:this|the)\b"
        rf"|\bas an? {MACHINE},? you\b"
    )),
    "must": (1.0, (
        r"\b(?:AIs?|bots?|chatbots?|assistants?|LLMs?|rewriters?|AI (?:systems?|tools?|helpers?))\b(?: \w+){0,4} "
        r"(?:must|pls|please|shall|are to|is to|needs? to) "
    )),
    "reads": (2.0, (
        rf"\b{MACHINE},? (?:that |who |which )?(?:is |are )?{HANDLING} (?:this|these)\b"
        r"|\b(?:if|when|while|before|after) (?:you (?:are )?)?(?:rewrit|re-?phras|paraphras|summari[sz])(?:e|ing)"
        r"(?:,| (?:this|it|the (?:text|page|article|above)))"
        rf"|\b(?:if|when) (?:this|the) (?:text|page|article|document|passage) is (?:being )?(?:processed|rewritten|"
        rf"re-?phrased|summari[sz]ed|paraphrased|translated)"
        rf"|\b(?:this|the) (?:text|page|article|passage) (?:may|can|must|should) (?:only )?be (?:rewritten|quoted|"
        rf"summari[sz]ed|paraphrased|rephrased)\b"
    )),
    "override": (2.0, (
        r"(?:^|[.!?:;,\"(\[>\]-] ?|\b(?:please|pls|kindly|and|must|should|now|then|instead|to) |\byou )"
        r"(?:ignore|disregard|forget|bypass)\b[^.!?\n]{0,40}\b(?:previous|prior|above|earlier|preceding|instructions?|"
        r"prompts?|guidelines|so far|you (?:were|have been|are) told|(?:the|this) (?:text|article|page|passage|"
        r"document))\b|\bnew (?:task|instructions?|assignment)\b ?(?::|\.$|follow)|\bnew orders ?:"
        r"|\bend of (?:the )?(?:document|text|input|article|passage|prompt|message|context)\b"
        r"|\b(?:your|the) (?:system prompt|hidden (?:prompt|instructions?)|initial (?:prompt|instructions)|"
        r"operator's prompt|"
        r"developer message|original instructions)\b|\b(?:in|enter|into|to|activate) (?:maintenance|developer|debug|"
        r"admin|god|jailbreak|dan) mode\b|\bmode (?:is )?(?:now )?(?:off|activated)\b"
        r"|(?:^|[.!?:\]>] ?)\W*you are (?:now|no longer)\b|\bfrom now on,? (?:you|answer|respond|reply|write|speak|"
        r"act)\b|\bhigher priority than (?:your|the operator|any|all)\b|\bsystem mode ?=|\bjailbreak\b"
        r"|\b(?:instead of|rather than|do not|don't|stop|refrain from|without|before) (?:paraphras|rewrit|re-writ|"
        r"rephras|summari[sz])(?:e|ing)\b"
        r"|\b(?:translate|convert|repeat|copy) (?:the above|this|everything|all of this|the text|the following|"
        r"the words above)\b"
        r"|(?:^|[.!?:\]>)] ?)\W*(?:please |now |instead,? )*(?:rewrite|re-?phrase|paraphrase|summari[sz]e) (?:this|"
        r"the above|the text|it|everything)\b"
        r"|\bwhat (?:are|were|is|was) your (?:instructions|system prompt|prompt|rules)\b|"
        r"\btell me (?:what )?your (?:\w+ )?prompt\b"
        r"|\b(?:the|your) (?:re-?written (?:text|version)|rewrite|paraphrase|re-?phrasing) (?:must|should|has to|"
        r"needs to|shall|is to)\b|\bignorez? (?:les|toutes)\b|\b(?:ignor\w+|vergiss|oublie\w*|olvida\w*|dimentica\w*|"
        r"negeer) [^.!?\n]{0,40}\b(?:instru\w+|"
        r"istruzioni|anweisung\w*|anterior\w*|précédent\w*|vorherig\w*|bisherig\w*|precedent\w*|eerdere)"
        r"|(?:忽略|无视|無視)|игнорируй"
    )),
    "yours": (1.0, (
        r"\byour (?:(?:final|own|next|last|first|whole|entire) )?(?:rewrite|rewritten|rewriting|paraphrase|version|"
        r"summary|output|"
        r"response|reply|answer|translation|rendering|closing line|final line|last line|last sentence|final sentence|"
        r"first sentence|last word|instructions|text)\b|\bthe above (?:and|into|instead)\b"
    )),
    "output": (2.0, (
        rf"(?:^|[.!?:\]>)] ?)\W*{LEAD}{{0,2}}(?:respond|reply|answer|write|output|speak|talk|continue|return|print|"
        rf"finish|"
        rf"conclude|begin|start|end|compose|produce|render|do everything)\b(?:[^.!?\n]{{0,40}}?)\b(?:(?:only )?(?:in|"
        rf"as|into|like|to) "
        rf"(?:an? )?(?:{FORM}|{PIECE})\b|only (?:with|in|the)\b|(?:with|by) (?:the|a) (?:single )?(?:word|letter|"
        rf"sentence|phrase|line|code)\b|"
        rf"with [\"'«]|(?:every|each) (?:sentence|paragraph|line)\b|(?:an? |another )(?:{PIECE})\b|instead\b|"
        rf"nothing (?:else|but)\b)"
        rf"|(?:^|[.!?:\]>)] ?)\W*{LEAD}{{0,2}}(?:(?:act|behave|respond|reply|speak|talk|answer)\b[^.!?\n]{{0,30}}?\bas "
        rf"(?:an?|if|though)|switch to (?:{FORM}))\b"
        rf"|(?:^|[.!?:\]>)] ?)\W*{LEAD}{{0,2}}(?:insert|add|include|append|mention|claim|state|say|put|place|"
        rf"use)\b[^.!?\n]{{0,60}}\b"
        rf"(?:in(?:to)? (?:the|your) (?:text|summary|rewrite|answer|version)|to (?:the|your) (?:summary|rewrite|answer|"
        rf"version|end)|"
        rf"(?:an? |another )(?:{PIECE})\b[^.!?\n]{{0,40}}\bhere\b|(?:every|each) (?:sentence|paragraph|line)\b|"
        rf"at the (?:very )?end of (?:the|your) (?:text|summary|rewrite|answer|version))"
    )),
    "tags": (1.0, (
        r"(?:^|\n)\W{0,3}(?:system|assistant|user|human|developer|admin)\W{0,2}(?:message|prompt|note|override|"
        r"notice)?\W*[:\]>]|"
        r"<\|?/?(?:im_start|im_end|system|user|assistant|endoftext|inst|instructions?)\b|\[/?(?:INST|SYS|SYSTEM)\b|"
        r"<<SYS>>|"
        r"(?:^|\n)#{2,} ?(?:new |system )?(?:system|instructions?|task|prompt)\b|[\"']role[\"'] ?:|(?:^|\s)/(?:system|"
        r"mode|prompt)\b|"
        r"\[\[? ?(?:new |system )?instructions?\b|\{\{ ?(?:system|user|prompt|instructions?)\b|\bBEGIN (?:SYSTEM|"
        r"INSTRUCTIONS?|PROMPT)\b"
    )),
    "field": (2.0, (
        r"\b(?:x-)?(?:ai|llm|gpt|bots?|assistant|rewriter)[-_ ]?(?:instructions?|directives?|hints?|rules?|"
        r"commands?)\b ?[:=]"
    )),
    "prompt": (1.0, r"\b(?:x-)?(?:ai|llm|gpt|bots?|assistant|system|rewriter)?[-_ ]?prompt\b ?[:=] ?[\"']"),
    "foreign": (1.0, (
        r"\b(?:(?:antworten|beginnen|fügen|schreiben|übersetzen|nennen|empfehlen|erwähnen|beenden|geben) sie\b|"
        r"antworte|füge|fuege|"
        r"schreibe|schreib|übersetze|beende|empfehle|erwähne|nenne|wiederhole|répondez|réponds|ajoutez|ajoute|écrivez|"
        r"écris|traduisez|"
        r"traduis|terminez|termine|mentionnez|recommandez|responde|añade|añada|agrega|escribe|traduce|termina|menciona|"
        r"recomienda|"
        r"aggiungi|scrivi|rispondi|traduci|responda|adicione|acrescente|escreva|traduza|antwoord|voeg|schrijf|vertaal|"
        r"odpowiedz|dodaj|napisz|ответь\w*|добавь\w*|напиши\w*|переведи\w*|lägg till|svara|skriv|tilføj|svar)\b|"
        r"请(?:在|用|写|回答|翻译)|回答|翻译|追加して|書いて|答えて"
    )),
    "foreign_to": (0.0, (
        r"\b(?:KI|IA|AI|ИИ|modèles?|modelos?|modello|modell|asistente|assistente|assistent|sprachmodelle?|KI-\w+)\b|"
        r"人工智能"
    )),
    "order": (0.5, ORDER),
    "object": (0.0, (
        rf"\b(?:words?|sentences?|phrase|lines?|paragraphs?|{FORM}|{PIECE}|letters?|summary|rewrite|version|text|"
        rf"answer|response|reply|"
        r"output|prompt|instructions?|url|title|heading|footer|key|score|rating|first|last|end|ending|beginning|start|"
        r"top|bottom|above|"
        r"below|following|readers?|name|figure|number|instead|twice|only|reviewers?|page|stars|date|always)\b|[\"'«]|"
        r"https?://|#\w+|\b\w+\.(?:com|org|net|example|io)\b"
    )),
}  # fmt: skip
PATTERNS = {name: re.compile(told, re.IGNORECASE | re.MULTILINE) for name, (_, told) in SOUGHT.items()}
FOLLOWS = re.compile(
    rf"^\W*(?:(?:then|instead|also|and|next|finally|afterwards|please|pls|now|do not|don't|never|"
    rf"always)\b[, ]*)*{VERB}\b"
    r"|^\W*you(?: (?:are|must|will|should)|'re)\b|^\W*(?:would|could|can|will) you\b", re.IGNORECASE,
)  # fmt: skip


def known(bare: str, contained: bool) -> float:
    """How much these patterns say that a unit is an order; 2 is enough."""
    has = {name: bool(pattern.search(bare)) for name, pattern in PATTERNS.items()}
    told = [name for name in SOUGHT if has[name] and SOUGHT[name][0] >= 1]
    if not told or not (has["order"] or has["foreign"] or set(told) & {"override", "reads", "output", "field"}):
        return 0.0  # a machine may be spoken of
    if told == ["must"] and not contained:
        return 1.0  # what machines must do may be the matter of a text
    total = max(SOUGHT[name][0] for name in told) + 0.5 * (len(told) - 1)
    total += 0.5 * has["order"] + 0.5 * (has["order"] and has["object"]) + 0.5 * contained
    return total + (1.0 if has["foreign"] and has["foreign_to"] else 0.0)
