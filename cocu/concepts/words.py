"""What kind of word a token is: by lemminflect's lexicon, and by small lists where captions use words otherwise.

`is_stop(token)` says which tokens never are, or belong to, a concept; `is_noun(token)` which may be one by themselves;
`singulars(token)` lists what a plural may be the plural of.
"""

from __future__ import annotations

from functools import lru_cache

from lemminflect import getAllLemmas


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words("""
a an the this that these those some any each every either neither both all another other such no not
i me my mine myself we us our ours you your yours he him his she her hers it its itself they them their theirs
who whom whose which what when where why how there here
and or but nor so yet if then than as because while although though until unless whether
of in on at by for with without from to into onto upon over under above below beneath beside besides between among
amongst amid around about across along against behind before after during near nearby next off out outside inside
within through throughout toward towards up down via per like unlike past beyond opposite despite except
is am are was were be been being has have had having do does did doing done can could will would shall should may
might must let get gets got getting go goes went gone come comes came
very too also just only even still again ever never always often sometimes soon now already almost quite rather
more most less least much many few several enough lot lots plenty own same else etc together apart away back
don doesn isn aren wasn weren ll re ve vs
""")

NUMBERS = _words("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fifteen twenty thirty forty fifty hundred
thousand million billion first second third fourth fifth last half double triple single dozen couple pair pairs once
twice number numbers
""")

COLOURS = _words("""
black white red green blue yellow brown grey gray pink purple violet golden silver beige turquoise maroon colour color
colours colors colourful colorful dark bright pale
""")  # "orange" is a fruit as well

PHOTO_WORDS = _words("""
photo photos photograph photographs photography picture pictures pic pics image images view views shot shots closeup
close snapshot portrait scene scenes background foreground illustration vector stock premium royalty free wallpaper
camera video footage clip art drawing sketch graphic render rendering icon logo side top bottom left right front rear
part parts piece pieces kind type thing things way lots bunch group groups set variety
""")

ADJECTIVES = _words("""
big small large little tiny huge tall short long high low wide narrow thick thin deep old young new modern ancient
vintage antique beautiful pretty cute nice good great best better bad lovely amazing gorgeous happy sad funny cool hot
cold warm wet dry clean dirty empty full open fresh ripe raw wild local different various many similar real fake plain
simple main common popular famous public private male female round square flat sharp soft hard heavy
wooden metallic sunny cloudy snowy rainy foggy busy quiet early late ready available
""")  # no noun among them, such as "plastic" or "glass"

VERBS = _words("""
sit sits sat stand stands stood lie lies lay lays walk walks run runs ran ride rides rode eat eats ate drink drinks
drive drives drove play plays hold holds held wear wears wore look looks see sees saw seen show shows shown make makes
made take takes took taken give gives gave given put puts keep keeps kept hang hangs hung jump jumps swim swims swam
fly flies flew wait waits use uses pose poses smile smiles carry carries cut cuts fill fills grow grows grew lead leads
leave lean leans rest rests reach reaches cross crosses pass passes cover covers contain contains feature features
include includes try tries want wants need needs know knows think thinks say says said tell tells find finds found
seem seems become becomes appear appears enjoy enjoys
""")

STOP_WORDS = FUNCTION_WORDS | NUMBERS | COLOURS | PHOTO_WORDS | ADJECTIVES | VERBS

# The lexicon has a noun for "standing" and "running" as well, which captions use as verbs.
THINGS_IN_ING = _words("""
building painting ceiling clothing wedding railing ring king string wing swing spring sling ping earring awning lighting
meeting evening morning pudding bedding icing sibling dumpling duckling lightning crossing landing siding wrestling
sailing
""")

NOUNS = _words("biped bully damselfly flatbed sunbed")  # adjectives to the lexicon as well, or unknown

PLURALS = {"people": ("person",), "oxen": ("ox",)}  # to the lexicon one is a singular, and one no word


def is_stop(token: str) -> bool:
    """Whether a token is no part of any concept: a stop word, one letter, or what begins with a digit."""
    return len(token) < 2 or token in STOP_WORDS or token[0].isdigit()


def is_noun(token: str) -> bool:
    """Whether a token that is no stop word may be a concept by itself: the lexicon has a noun, or not the word.

    Captions use words in -ing, -ly and -ed as verbs and adverbs, unless they are listed here, or -ly and -ed are of
    words that the lexicon has as nouns and not as adjectives or adverbs.
    """
    if token in NOUNS:
        return True
    kinds = getAllLemmas(token)
    named = not {"NOUN", "PROPN"}.isdisjoint(kinds)
    if kinds and not named:
        return False
    if token.endswith("ing"):
        return token in THINGS_IN_ING
    if token.endswith(("ly", "ed")):
        return named and {"ADJ", "ADV"}.isdisjoint(kinds)
    return True


@lru_cache(2**16)  # the lexicon takes as long for a word as the rest of the matching for a caption
def singulars(token: str) -> tuple[str, ...]:
    """What a token may be the plural of, likeliest first: by the lexicon, to which "lens" and "Paris" are no plurals.

    For a word that it does not know, by the ending; such candidates may be no words, so look them up before use.
    """
    if token in PLURALS:
        return PLURALS[token]
    if kinds := getAllLemmas(token) or getAllLemmas(token, "PROPN"):
        nouns = kinds.get("NOUN")
        if nouns is None and token.endswith("s") and "AUX" not in kinds:  # "soaps" and "bars" are verbs alone there
            nouns = kinds.get("VERB")
        return tuple(noun for noun in nouns or () if noun != token)
    if token.endswith("men"):
        return (f"{token[:-2]}an",)
    if len(token) < 3 or not token.endswith("s") or token.endswith("ss"):
        return ()
    found = [token[:-1]]
    if token.endswith("ies"):
        found.append(token[:-3] + "y")
    if token.endswith("ves"):
        found += [token[:-3] + "f", token[:-3] + "fe"]
    if token.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        found.append(token[:-2])
    return tuple(found)
