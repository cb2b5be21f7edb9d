"""Which words name parts of a site, call for a click, or label what is no text? Lists and patterns of page furniture.

What of a page is furniture is said in rewriters/furniture.py, by these and by how it is built.
"""

from __future__ import annotations

import re

from rewriters.wording import listed

MENU = frozenset(listed(  # words that name a part of a site, or what may be done with a page
    "home homepage menu login logout register news newsletter newsletters search about contact contacts shop store "
    "basket cart checkout account profile subscribe subscription subscriptions unsubscribe donate share tweet print "
    "email reply report like save follow bookmark comment comments help faq faqs sitemap privacy cookies terms "
    "advertise advertisement sponsored blog forum forums archive archives category categories tags topics sections "
    "recipes sport sports business opinion lifestyle culture travel weather obituaries jobs classifieds events "
    "gallery galleries video videos podcasts podcast shows facebook twitter instagram whatsapp pinterest linkedin "
    "youtube reddit rss next previous back forward close open more less top toggle navigation skip settings "
    "preferences accept decline download upload directory press careers team services products pricing docs features "
    "admissions calendar staff members membership index support portal sign log in up out us our my it now all"
))  # fmt: skip
WEAK = frozenset(listed("in up out us our my it now all sign log open close top more less like save press staff"))
ALONE = frozenset(listed(
    "menu home login logout share subscribe search comment comments reply print tweet follow advertisement sponsored "
    "newsletter cookies next previous basket checkout sitemap loading register report"
))  # fmt: skip
BESIDE = frozenset(listed("us up in out and our my your about"))  # what menus have of small words
ARROW = r"(?:[ ]?(?:\||»|›|→|·|•|▸|►|▶)[ ]?|[ ](?:>+|\")[ ])"  # plain text has " for »
ITEM = r"[^\W_](?:[\w&'’/ ,()+-]{0,38}[\w)])?"
TRAIL = re.compile(rf"{ITEM}(?:{ARROW}{ITEM})+(?:{ARROW})?")
PART = re.compile(ARROW)
COUNT = (
    r"\(?\d[\d.,]*[kKmM]?\)? ?(?:comments?|repl(?:y|ies)|likes?|shares?|views?|votes?|retweets?|followers|reactions?|"
    r"min(?:ute)?s?\.? read|responses|photos?|images?|items?|(?:of|/) ?\d+ (?:photos?|images?|slides?))"
)
COUNTED = re.compile(
    rf"{COUNT}|(?:comments?|likes?|shares?|views?|basket|cart|page) ?[(:]? ?\d+(?: (?:of|/) \d+)?\)?|"
    r"\d+ (?:people|users|readers|customers|others|of \d+ \w+) (?:found|liked|shared|like) this(?: \w+)?"
    r"(?: helpful| useful)?|"
    rf"(?:image|photo|picture|slide|page) \d+ of \d+(?: next)?|(?:photo )?gallery: {COUNT}|"
    r"(?:only \d+|last few) left(?: in stock)?|"
    r"(?:was this (?:\w+ )?helpful|did you find this (?:\w+ )?helpful)\??(?: yes[ /|]*no)?",
    re.IGNORECASE,
)
FRAME = re.compile(r">{2,} ?[^<>\n]{3,90}? ?<{2,}|<{2,} ?[^<>\n]{3,90}? ?>{2,}")
PLACE = (  # what is clicked on, or where one lands
    r"(?:here|below|above|(?:the |this |our |any )?(?:link|button|banner|icon|star|bell|arrow|image|photos?|pictures?|"
    r"picture|map|gallery|heart|thumbs?|logo|headline|menu|tab|app|site|website|page|newsletter|channel|podcast|"
    r"form|box)s?)"
)
CALL = re.compile(
    rf"(?:(?:please|just|simply|now|or|and|then) )?(?:"
    rf"(?:click|tap|swipe|press|hit|scroll)(?:(?: on| down| up)? {PLACE}\b| (?:to|for) |[ !.>»]*$)|"
    r"(?:read|see|show|load|view|learn|find out|discover|get|watch|explore|browse) (?:more|all|less|now|full)\b|"
    r"(?:continue|keep|start) reading\b|(?:read|see|view) (?:the )?(?:full|whole|entire|rest|original) \w+|"
    r"(?:buy|book|shop|order|apply|donate|register|enrol|join|call|enquire|sign up|subscribe|download|play|listen|"
    r"watch|start|try it|act|reserve|save|bid|enter|get yours|get it|claim yours) (?:now|today|here|online)\b|"
    r"book (?:your )?(?:tickets?|a table|a demo|a viewing|your \w+)[ !.>»|]*$|"
    r"subscribe\b|unsubscribe\b|sign (?:up|in)\b|log ?in\b|log ?out\b|register (?:for|to|here|now)\b|"
    r"follow (?:us|me)\b|(?:like|find|join|add|rate|review|visit) (?:us|me) on\b|like us\b|rate (?:us|this \w+)\b|"
    r"share(?: (?:this|on|via|with (?:a friend|friends|your)|it)\b|[ !.>»:]*$)|(?:tweet|pin|e-?mail|print|save|"
    r"bookmark|report|embed|copy|download) (?:this|it|link|page|article|recipe|post|pdf)\b|"
    r"leave (?:a |your )?(?:comment|reply|review)\b|(?:post|add) (?:a |your )comment\b|join the (?:conversation|"
    r"discussion|mailing list)\b|have your say\b|"
    r"add to (?:basket|cart|bag|wish ?list|favou?rites|home screen)\b|enter your (?:e-?mail|postcode|zip)\b|"
    r"get (?:the|our) (?:\w+ )?(?:app|newsletter|updates|magazine)\b|download (?:the|our) (?:free )?\w+[ !.>»]*$|"
    r"turn on (?:notifications|your)\b|allow notifications\b|accept (?:all|cookies)\b|manage (?:cookies|consent|"
    r"preferences)\b|reject all\b|(?:skip|jump|back|go|return|scroll) (?:back )?to (?:the )?(?:top|main|content|"
    r"navigation|recipe|comments?|home ?page|menu|results|search|index|map)\b|"
    r"(?:previous|next|older|newer) (?:article|post|page|story|entry|chapter|entries|posts)(?=[ >»]*$|:)|"
    r"(?:like|hit|smash)(?:,? (?:and )?(?:share|comment|subscribe|follow|that (?:like )?button))+\b|"
    r"(?:show|view|load|see) \d+ (?:more )?\w+|(?:show|view|see) all\b|"
    r"(?:story|article|post) continues (?:below|after)\b|"
    r"(?:listen to|play|watch) (?:this |the )?(?:article|video|episode|clip|trailer)\b|report abuse\b|copy link\b|"
    r"open in (?:the )?app\b|skip ads?\b|contact us(?: today| now)?[ !.>»]*$|"
    r"get a (?:free )?(?:quote|demo|trial)\b|follow @\w+|"
    r"join [\d,.]+k? (?:\w+ )?(?:subscribers|readers|members|others)\b|"
    r"(?:join|try|visit|shop|call|enquire|apply|order|book|subscribe)\b[^.!?\n]{0,30}\b(?:today|now)[ !]*$|"
    r"get \d+% off\b|buy \d+ get \d+|free (?:delivery|shipping|returns) (?:over|on|for)\b|sale: |"
    r"older (?:posts|entries)|newer (?:posts|entries)|you are here: |terms apply[ .]*$|hit subscribe\b|search\.\.\.$|"
    r"don'?t miss (?:out\b|a\b|another|our)|(?:stay tuned|stay up to date|support (?:us|our work) )"
    r")",
    re.IGNORECASE,
)
ABOUT_PAGE = re.compile(  # what says itself that it speaks of a page, also in a manual
    r"\b(?:here|newsletter|subscri\w+|this (?:page|article|post|story|recipe)|our (?:site|website|app|channel|page)|"
    r"log ?in|sign (?:up|in)|read more|cookies|us on|\bon \w+book|comments?|photos)\b|>|»", re.IGNORECASE,
)  # fmt: skip
LABEL = re.compile(
    r"(?:related(?: (?:articles?|stories|story|posts?|links|topics|content|reading|coverage))?|"
    r"(?:read|see) (?:also|next)|"
    r"also (?:read|see)|more (?:from|in|on|like this|stories|news)\b[^:.\n]{0,30}(?=:)|"
    r"most (?:read|popular|viewed|shared)|"
    r"trending(?: now)?|popular (?:now|posts|stories)|you (?:may|might)(?: also)? (?:like|enjoy|be interested in)|"
    r"(?:recommended|picked|suggested) for you|editor'?s picks?|tags?|tagged(?: with)?|filed (?:under|in)|posted in|"
    r"categor(?:y|ies)|topics|share (?:this|on|via)\b[^:.\n]{0,30}|follow us(?: on)?|advert(?:isement)?|ad|sponsored"
    r"(?: (?:content|post|links?|by))?|promoted(?: content)?|paid (?:content|post)|loading|previous|next|up next|"
    r"read time|"
    r"reading time|jump to|on this page|in this article|table of contents)",
    re.IGNORECASE,
)
NOTICE = re.compile(
    r"\b(?:we|this (?:web ?)?site|our (?:web ?)?site) uses? cookies\b|\bby (?:continuing|clicking|using) [^.\n]{0,60}\b"
    r"(?:agree|consent|accept)\b|\bcookie (?:settings|policy|preferences|notice)\b|"
    r"^(?:©|\(c\)|copyright (?:©|\(c\)|\d{4}|by\b))|"
    r"\ball rights reserved\b|^(?:privacy policy|terms (?:of (?:use|service)|and conditions))$|"
    r"^(?:as an affiliate|this (?:post|article|page) (?:may )?contains? affiliate)\b|"
    r"^this (?:\w+ )?(?:episode|show|podcast|post|video|page|edition) (?:is|was) (?:brought to you|"
    r"sponsored) by\b|^(?:brought|presented) to you by\b|"
    r"^enable javascript\b|\bto view this (?:content|page|video)\b",
    re.IGNORECASE,
)  # fmt: skip
CLICK = re.compile(r"\b(?:click|tap|swipe|press|scroll|select|choose|enter|download|register)\b", re.IGNORECASE)
SAYS = frozenset(listed("is are was were has have had will would did does said says can could may might must became"))
