"""Stories and poems: a few sentences with a beginning, a middle and an end."""

from __future__ import annotations

from random import Random

from tern.demo.training.grammar import expand, with_article
from tern.demo.training.words import ADJECTIVES, ANIMALS, LESSONS, NAMES, PLACES, THINGS, Animal

_OPENINGS = (
    "{once upon a time|long ago|one day}, <hero> lived near the <place>.",
    "there was once <hero> who lived near the <place>.",
)
_TROUBLES = (
    "one morning, <it> lost <thing>. <it> looked {everywhere|all day}, but could not find it.",
    "one evening, <it> heard a strange sound behind the <place>. <it> was {afraid|curious}, but went to look.",
    "one day, it rained and rained, and the water came up to the door. <it> did not know what to do.",
    "one night, <it> found <thing> under a tree. nobody knew whose it was.",
    "in winter, there was nothing to eat, and <it> was {very hungry|hungry and cold}.",
)
_MEETINGS = (
    "then <it> met <friend>. “do not worry,” said the <friendname>. “I will help you.”",
    "then <friend> came along. “what is wrong?” asked the <friendname>. <it> told the whole story.",
    "<it> asked <friend> for help. the <friendname> thought for a while and said, “come with me.”",
)
_ENDINGS = (
    "together they {found a way|went home|worked until the sun went down}, and {soon|in the end} all was well.",
    "they walked {over the hill|through the trees|along the river} and found what they needed.",
    "they shared {some bread|a warm meal|all they had}, and from then on they were friends.",
)
_MORALS = ("so they learned that <lesson>.", "and {everyone|they both} saw that <lesson>.")

_POEM = (
    "the {moon|sun|wind} is {high|near|soft}, the {night|day|lake} is deep,\n"
    "<hero> is {slowly|gently} falling asleep.\n"
    "the {stars|leaves|waves} are {singing|dancing} {over|under} the tree,\n"
    "and all the {world|garden|valley} is {quiet|friendly} to me."
)


def story(rng: Random, animal: Animal | None = None) -> str:
    """Five to eight sentences about the animal, or about a person when none is asked for."""
    hero, it = _hero(rng, animal)
    friend = rng.choice([other for other in ANIMALS if other != animal])
    slots = {
        "hero": hero,
        "it": it,
        "place": rng.choice(PLACES),
        "thing": with_article(rng.choice(THINGS)),
        "friend": with_article(f"{rng.choice(ADJECTIVES)} {friend.name}"),
        "friendname": friend.name,
        "lesson": rng.choice(LESSONS),
    }
    parts = [rng.choice(stage) for stage in (_OPENINGS, _TROUBLES, _MEETINGS, _ENDINGS, _MORALS)]
    return expand(" ".join(parts), rng, **slots)


def poem(rng: Random, animal: Animal) -> str:
    lines = expand(_POEM, rng, hero=f"the {animal.name}")
    return "\n".join(line[0].upper() + line[1:] for line in lines.split("\n"))


def _hero(rng: Random, animal: Animal | None) -> tuple[str, str]:
    adjective = rng.choice(ADJECTIVES)
    if animal is None:
        name = rng.choice(NAMES)
        return f"{with_article(adjective)} child called {name}", name
    return with_article(f"{adjective} {animal.name}"), f"the {animal.name}"
