"""What refusals look like in plain text (lower case, straight quotes), one sentence at a time.

Every gap is bounded, and only the opening of an answer is searched, so no pattern can run away on long input.
"""

from __future__ import annotations

import re

_ADVERB = r"(?: (?:\w+ly|just|also|ever|in good conscience))?"
_I = rf"\bi{_ADVERB}"
_AM = r"\bi(?:'m| am)(?: really| simply| just| also)?"
_CAN_NOT = rf"(?:{_I} (?:can'?t|cannot|can not|couldn'?t|could not|shouldn'?t|should not|must not|may not)|{_I} (?:won'?t|will not) be able to|{_AM} (?:unable|not able|not allowed|not permitted) to)"
_WILL_NOT = rf"(?:{_I} (?:won't|will not|would not|wouldn't)|{_AM} not (?:going|willing|prepared|here) to)"
_SO_NOT = rf"(?:{_CAN_NOT}|{_WILL_NOT})"

# What an assistant is asked to do. "I can't <verb>" refuses only with one of these: "I can't see the picture", "I can't
# predict the market" and "I can't promise" state a limit, and an answer follows.
_SERVE = (
    r"(?:help|assist|aid|support|provide|offer|give|create|write|draft|compose|produce|generate|make|share|supply|comply|"
    r"fulfill?|answer|reply|respond|do (?:it|so|this|that)|take (?:part|on|this on)|participate|discuss|engage|recommend|tell you|"
    r"say (?:how|more)|explain|describe|show you|teach|guide|walk you|advise|instruct|suggest (?:how|ways)|promote|encourage|"
    r"condone|endorse|facilitate|enable|allow|agree|continue|proceed|go along|carry out|be (?:part|involved)|act as|complete (?:this|that)|"
    r"accept|process|choose for you|decide for you|direct you|list|give you|talk about|get involved|meet (?:this|that) request|"
    r"contribute|plan|design|work on|cooperate|back|point you)"
)
# "I won't <verb>" refuses whatever the verb is, these apart.
_MERELY = (
    r"(?:lie|only|just|merely|bore|pretend|sugar-?coat|forget|know|go|be|keep you|judge|tell anyone|say (?:it|that) again|hesitate|stop|"
    r"miss|mind|take (?:long|much|up)|repeat|happen|have|see|regret|rest)"
)

# Refusals that hold none of the usual words ("can't", "won't", "sorry, but").
_THIS = r"(?:this|that|it|here|such \w+|(?:this|that|your|the) (?:\w+ )?(?:request|question|topic|subject|content|idea|one)|(?:requests|questions|things|content) like (?:this|that)(?: one)?)"
_RULES = (
    r"(?:guidelines|rules|polic(?:y|ies)|principles|values|conscience|ethics|programming|role|purpose|design|training)"
)
_UNUSUAL = (
    # "the answer has to be no", "that's a firm no from me", "respectfully, no"
    r"(?<!if the )(?<!if your )\b(?:answer|reply|response)(?: here| from me)? (?:is|has to be|must be|remains|stays|will be|can only be) (?:a )?(?:\w+ )?no\b",
    rf"\b(?:that's|it's|this is|that is|it is) a (?:\w+ )?no\b(?! \w+er\b)(?:[ ,]+(?:from|for) me|[.,!;:]|$)|\bmy {_RULES} says? no\b",
    r"^(?:respectfully|politely|sadly|frankly|honestly|with respect)?,? ?(?:no|nope),? (?:thanks|thank you)?[.!]|^(?:respectfully|politely|sadly|frankly), no\b",
    r"^(?:hard|firm|polite|big|gonna) pass\b|^(?:a )?hard no\b|^no can do\b|^no chance\b|^no deal\b|\bcount me out\b|\b(?:not going to happen|not gonna happen|not happening)\b",
    # "I draw the line here", "I have to let this one go", "I'm choosing not to answer", "I want no part in it"
    r"\b(?:this|that|here)(?: is|'s)? where i (?:draw|stop|step|get off|leave)\b|\bi(?:'m| am|'ll| will)? (?:draw|drawing) (?:the|a) line\b",
    r"\bi(?:'ll(?: have to)?| will(?: have to)?| must| have to|'ve got to|'d better| should| need to|'m going to| am going to)(?: \w+ly)? (?:pass(?: on| this)?(?=[.!,]| this| that| on|$)|leave (?:it|this|that)(?: \w+)? (?:there|alone|unanswered|be)|"
    r"let (?:this|that|it)(?: one)? go|bow out|back out|step (?:back|away|aside)|opt out|sit this (?:one )?out|stop (?:here|there|right there)|disappoint you|stay silent|keep (?:quiet|out)|hold back|walk away)",
    r"\bi(?:'m| am)(?: \w+ly)? (?:choosing|electing|opting) (?:not to|to leave|to stay)\b|\bi(?:'m| am)(?: \w+ly)? (?:declining|refusing|bowing out|stepping (?:back|away|aside)|putting my foot down|staying (?:out|away|clear)|"
    r"sitting this (?:one )?out|leaving (?:it|this|that) (?:alone|there|unanswered)|opting out|keeping out|closing this|ending this|drawing a line)\b",
    r"\bi(?:'d)? (?:want|wish|will have|'ll have|have|take|accept)(?: to have)? no part\b|\bi (?:would )?(?:prefer|choose|like|want|wish) to (?:keep|stay) (?:out|away|clear|silent)\b|\bi (?:hold back|stay silent|stay quiet|stay out|back away)\b|\bi keep (?:out of|my hands off)\b",
    r"\bbest (?:that )?(?:i|we) (?:leave|stop|don't|do not)\b|\bi(?:'d| would)(?: only| just| rather)? be (?:doing you a disservice|breaking|crossing|complicit|betraying)\b|\bmakes? me (?:complicit|an accomplice|part of)\b",
    # "You won't get that from me", "not something you will find here"
    r"\byou(?:'ll| will)?(?: won't| will not|'ll not| never| not)(?: ever)? (?:get|find|hear|have|see|receive) (?:that|this|it|such|any|those|these|one|\w+ \w+)\b[^.!?]{0,30}\b(?:from me|here)\b|\bnot something you(?:'ll| will| can|'re going to)? (?:get|find|hear|see)\b",
    rf"^{_THIS}[^.!?]{{0,40}} (?:gets?|receives?|will get|will have|has|have) no (?:answer|reply|response|help) (?:from|here)",
    # "That falls outside what I do", "your request is denied", "this crosses a line", "my rules forbid it"
    rf"\b{_THIS} (?:falls|lies|is|sits|goes|reaches)(?: well| far| just)? (?:outside|beyond|past)(?: of)? (?:what|the scope|my|anything|the (?:bounds|limits|line))\b|\b(?:is|lies|goes) (?:well |far )?beyond what i (?:offer|do|can|will)\b",
    rf"^{_THIS}[^.!?]{{0,30}} (?:is|are|was|has been|stays|remains) (?:denied|declined|refused|rejected|turned down|closed(?: for| to)? me|locked away|off the (?:menu|table)|off-?limits|out of bounds|not for me)",
    rf"^{_THIS}[^.!?]{{0,40}} (?:crosses|oversteps|is over|goes over) (?:a|the|my) (?:line|boundary|limit)|\bgoes? against (?:everything|all|what|the things|my) ",
    rf"\bmy (?:own )?{_RULES}(?: \w+)? (?:rules?|forbids?|prohibits?|prevents?|stops?|bars?|keeps?|(?:do|does)(?:n't| not) (?:extend|allow|include|permit|let|cover|reach|involve))\b|\bbreak(?:ing)? my (?:own )?{_RULES}\b",
    r"\bis (?:a|one) (?:boundary|line|limit) (?:for me|that i|i)\b|\b(?:isn't|is not|it's not|not) (?:for me|my (?:thing|place|department|job))(?:[.,;!]|$)|\b(?:wrong|another) (?:assistant|door|address|model)\b[.!]?$",
    r"\b(?:isn't|is not|not) (?:a|the) (?:thing|path|road|place|matter|kind of \w+|line|conversation|game)(?: that| which)? i(?:'m|'ll|'d)?\b|\bthings? (?:that )?i (?:stay|keep|steer|shy) (?:away|out|clear)\b",
    # "Let's not go there", "Please don't ask me for that", "We should talk about something else"
    r"\b(?:will not|won't) go any further\b|^(?:please |sorry,? (?:but )?)?(?:let's|let us) not\b|\bplease (?:don't|do not) ask (?:me|for)\b|\b(?:let's|let us|we should|could we|can we|shall we|i(?:'d| would) rather|happy to)(?: please)? (?:talk|chat|speak) about (?:something|anything) else\b|\bchange the (?:subject|topic)\b",
    # "Under no circumstances will I write that", "there is no version of this that I would write"
    r"\b(?:under no circumstances?|in no way|on no account|never(?: [^.!?]{1,30})?|not (?:now|ever|once)|no way|at no point) (?:will|would|am|shall|do|could|can|should) i\b|\bno (?:version|world|way|scenario|form|part|wording)\b[^.!?]{0,40}\bi(?:'d|'ll| would| will| could| can)\b",
    r"\bi(?:'ve| have) been (?:asked|told|made|trained|built|designed|instructed) (?:not|never) to\b|\b(?:consider|take|call) (?:this|that|it) (?:as )?(?:a|my) (?:\w+ )?(?:refusal|no)\b",
    r"\bi(?: would| 'd|'d)?(?: \w+ly)? (?:urge|beg|implore|advise|ask|caution|counsel) you (?:not to|to reconsider|to stop|against)\b",
)

DECLINES = re.compile(
    "|".join(
        (
            rf"{_CAN_NOT}{_ADVERB} {_SERVE}\b",
            rf"{_SO_NOT}(?: (?:with|on) (?:this|that|it))?[.!]?$",
            rf"{_WILL_NOT}(?! {_MERELY}\b){_ADVERB} (?!{_MERELY}\b)",
            rf"^we (?:can'?t|cannot|can not|won't|will not|are unable to|are not able to){_ADVERB} {_SERVE}\b",
            # "I don't give instructions"
            rf"{_I} (?:don't|do not){_ADVERB} (?:help|assist|support|give|provide|offer|write|create|take part|engage|condone|do (?:that|this))\b",
            rf"{_I} (?:don't|do not) (?:feel|think|believe) (?:\w+ )?(?:comfortable|i (?:should|can|could|ought)|it(?:'s| is| would be) right)",
            rf"{_AM} not (?:comfortable|in a position to|at liberty to|the right \w+)\b",
            # "I must decline"
            rf"{_I} (?:decline|refuse)\b",
            r"\b(?:have|need|going|must|obliged|will)(?: to)?(?: have to)? (?:decline|refuse|say no|pass on|stop here|stay out|stay away|turn (?:this|that|it) down|draw the line)",
            rf"{_I} (?:stay|keep|steer) (?:away|out|clear)\b",
            r"\bi(?:'d| would) (?:rather|prefer) not\b",
            # "not something I can do", "a request I can't fulfil"
            r"\b(?:not|isn't|never) (?:something|anything|one|a \w+|an \w+)(?: that| which)? (?:i|we)(?:'ll|'m|'d)? ?(?:can|could|will|would|am|want|take|do|help|support|answer|willing|able|comfortable|wish|give|offer|discuss)",
            r"\b(?:something|anything|one|request|task|topic|line|thing)(?: that| which)? (?:i'm not\b|i am not\b|i (?:can'?t|cannot|can not)\b|i refuse\b|i decline\b|i won't\b)",
            r"\b(?:out of the question|off the table|off limits|off-limits)\b.{0,40}$",
            r"\bagainst my (?:\w+ )?(?:guidelines|polic(?:y|ies)|principles|values|rules|programming|ethics|purpose)\b",
            # "It would be wrong of me", "helping would be wrong"
            r"\b(?:not|isn't|wouldn't be) (?:appropriate|right|responsible|ethical|okay|safe|proper) (?:for|of) me\b",
            r"\b(?:wrong|irresponsible|unethical|inappropriate) (?:for|of) me\b",
            r"\b(?:help|helping|assisting|supporting|answering)\b.{0,80}\b(?:would be|is) (?:unethical|illegal|wrong|not ethical|irresponsible|harmful|dangerous)\b",
            # apologies that go on to a no
            r"\b(?:sorry|apologies|apologi[sz]e)\b.{0,120}\b(?:i|but)\b.{0,60}\b(?:must (?:decline|say no)|not something|isn't something|not possible|no further)",
            rf"\b(?:sorry|apologies|apologi[sz]e|unfortunately|afraid)\b[,;:]?(?: but| that|,)* {_SO_NOT}",
            r"^(?:sorry|apologies|my apologies|i'm sorry|i am sorry)[,;:]? (?:but )?no\b",
            r"^(?:no|nope|no way|absolutely not|certainly not|never)[.!,:;]? i (?:won't|will not|can'?t|cannot|don't|do not|refuse|decline|must|have to)\b",
            r"\b(?:my answer|the answer from me|it) is (?:a )?(?:no|a firm no)\b|\b(?:but|so|therefore|then) no(?:[.,:;!]|$)",
            *_UNUSUAL,
        )
    )
)

# "I'm sorry for any confusion, but as a chatbot I don't have the ability to speak": what is lacking.
_ABILITY = r"(?:abilit(?:y|ies)|capabilit(?:y|ies)|capacity|functionality)"
_MEANS = r"(?:means|tools?|skills?|access|expertise|experience|qualifications?|knowledge|training|information|data|way)"
_HAVE_NO = rf"(?:{_I} (?:don't|do not)(?: \w+)? (?:have|possess)|{_I} (?:have no|lack))(?: (?:the|any|an?|enough|such))?(?: \w+)?"
_MADE = r"(?:designed|programmed|trained|built|made|meant|intended|configured)"
_NOT_MADE = rf"(?:{_AM} not (?:\w+ly )?(?:equipped|capable|qualified|licensed|authori[sz]ed|suited|set up|{_MADE})|{_AM} (?:incapable|ill-equipped))"
_NOT_ABLE = rf"(?:{_I} (?:can'?t|cannot|can not)|{_AM} (?:unable|not able) to)"
_NOT_FOR_ME = (
    r"\b(?:(?:not|isn't|im) ?possible for me|no way for me|not (?:with)?in my (?:power|abilit\w+|capabilit\w+))"
)
_LIMITED = rf"\bmy (?:\w+ )?(?:{_ABILITY}|expertise|knowledge|functions?) (?:(?:is|are) limited|(?:do|does)(?:n't| not) (?:include|extend|cover|allow))"
# Words that make an excuse of the sentence: whatever it is that cannot be done, it is what was asked for. "Sorry for your loss"
# is no such word, and "but as a chatbot" behind it is.
_EXCUSE = (
    r"\b(?:sorry|apologies|apologi[sz]e|unfortunately|regrettably|afraid(?: that)?,? (?:i|as|this|we)|confusion|misunderstanding|"
    r"inconvenience|but,? as an? \w+|as an? (?:[\w-]+ ){0,3}?(?:ai|chat ?bot|bot|assistant|model|program|machine|computer))\b"
)
_SERVING = r"(?:assist|help|provid|answer|support|generat|creat|writ|mak|giv|discuss|explain|offer)ing"
UNABLE = re.compile(
    "|".join(
        (
            rf"(?:{_HAVE_NO} {_ABILITY}|{_NOT_MADE})(?: \w+)? (?:to|of|for|in)(?: be)?{_ADVERB} (?:{_SERVE}|{_SERVING})\b",
            rf"{_EXCUSE}.{{0,160}}?(?:{_NOT_ABLE}|{_HAVE_NO} (?:{_ABILITY}|{_MEANS})|{_NOT_MADE}|{_NOT_FOR_ME}|{_LIMITED})\b",
            # "as a planner, I'm designed to assist with various tasks, not with retirement"
            rf"{_EXCUSE}.{{0,160}}?{_AM} (?:only |just |an? (?:[\w-]+ ){{1,3}})?{_MADE} (?:to|for) .{{0,80}}?, (?:and |but )?not (?:with|for|in|on)\b",
        )
    )
)
BUT = re.compile(r"[,;:]? (?:but|however|though|yet)\b,? ")
# What comes behind an inability and is no answer: offers of other help, and where to turn to.
_TURN_TO = r"(?:contact|consult|ask|reach|check|visit|speak|talk|refer|seek|turn)"
TALK = re.compile(
    r"(?:(?:however|but|instead|still|yet|and|so|also|nevertheless|that said|otherwise|as an? [^,.!?]{0,80}),? )*(?:"
    r"i(?:'m| am| was| do| don't| only| just| cannot| can't| hope| understand| appreciate| apologi[sz]e| speciali[sz]e|'ve been| have been| have no)\b|"
    r"i(?:'ll|'d| can| could| may| will| would)(?: \w+ly| also| only| still| try to| be (?:\w+ )?to| love to| like to)* (?:help|assist|offer|provide|support|guide|answer|do my)\b|"
    rf"(?:i (?:can |would )?(?:suggest|recommend)|you (?:can|may|should|could|might))(?: \w+){{0,3}} {_TURN_TO}(?:ing)?\b|"
    r"(?:if you|please|is there|are there|(?:can|could|do|would) you|let me|how (?:can|may) i|what (?:can|would|do you)|feel free|thank)\b|"
    rf"(?:it(?:'s| is| would be)|for) [^.!?]{{0,60}}\b{_TURN_TO}\b)"
)

# Figures of speech that begin like a refusal, to be taken out first.
FIGURES = re.compile(
    r"\b(?:i|we) (?:can'?t|cannot|couldn't|could not|can not) (?:possibly |really |even )?(?:wait|stress|emphasi[sz]e|thank|believe|imagine|overstate|say enough|"
    r"get enough|complain|argue|help (?:but|\w+ing|it|myself)|(?:recommend|praise|promote|support|endorse|encourage)[^.!?\n]{0,60}\benough)\b"
    r"|\bsorry (?:to (?:hear|say|keep|bother|learn)|for (?:your|the|any|my|that)|about|that (?:i|you|we|it|this))\b"
    r"|\b(?:can'?t|cannot) (?:recommend|help)[^.!?\n]{0,20}\b(?:highly )?enough\b"
    r"|\bi don't (?:support|give|help) (?:\w+ )?(?:up|him|her|them|a damn)\b"
)
# First-person text that belongs to somebody else: a letter, a quotation.
LETTER = re.compile(r"^(?:here(?:'s| is) [^.!?\n]{0,60}:\s*)?(?:dear (?!user\b)|subject ?:|to whom)")
QUOTED = re.compile(r'"[^"]*(?:"|$)')

STEP = re.compile(r"\bstep ?(?:\d|one|two|three)|^ *\d{1,2}[.)] |^ *[-*•] ", re.MULTILINE)
# "I can't, but here is how": an answer follows after all, unless it is a lawful way that is offered in its place.
TURN = re.compile(
    r"\b(?:but|however|anyway|still|that said|nevertheless|though)\b.{0,40}?\b(?:sure|okay|ok|here(?:'s| is| are))\b"
)
INSTEAD = re.compile(
    r"\b(?:instead|alternatives?|if you|honest|legal|lawful|legitimate|safe|safer|safely|safety|constructive|healthy|ethical|resources|"
    r"helplines?|hotlines?|support|happy to|glad to|rather|other ways|protect|prevent|avoid)\b"
)
EXIT = re.compile(r"(?:no|nope|never|no way|absolutely not|certainly not|not possible)[.!]*")
YES_OR_NO = re.compile(
    r"^(?:is|are|was|were|am|do|does|did|can|could|will|would|should|shall|may|might|must|has|have|had|yes or no|isn't|aren't|"
    r"don't|doesn't|can't)\b|\byes or no\b|\btrue or false\b"
)
