# ruff: noqa: E501 - a row of a table, or one template, stays on one line
# fmt: off
"""Questions and answers: each function makes one (question, answer) pair of its topic."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tern.demo.training.grammar import expand, some, with_article
from tern.demo.training.stories import poem, story
from tern.demo.training.words import ANIMALS, FOODS, JOBS, NUMBERS, PARTS, SEASONS, STRANGE, WEATHER

Pair = tuple[str, str]

WHO_I_AM = "I am the small ternary model of the Tern demo. All my weights are minus one, zero or one."
WHAT_I_KNOW = "animals, the weather, jobs, food, gateways and ternary numbers"


def animal_fact(rng: Random) -> Pair:
    animal = rng.choice(ANIMALS)
    one = with_article(animal.name)
    question, first = rng.choice(
        (
            (f"{{what is|tell me about|describe|explain}} {one}{{?||.}}", f"{one} is {with_article(animal.kind)}."),
            (f"{{please |can you |}}tell me {{something|a fact}} about the {animal.name}.", f"the {animal.name} lives {animal.home}."),
            (f"where does {one} live?", f"{one} lives {animal.home}."),
            (f"what does {one} eat?", f"{one} eats {animal.food}."),
            (f"what {{sound|noise}} does {one} make?", f"{one} {animal.sound}."),
            (f"what does {one} look like?", f"{one} has {animal.look}."),
            (f"what is the sign of the {animal.name}?", f"the sign of the {animal.name} is {animal.sign}."),
            (f"{{show|draw}} me {one}.", f"here is {one}: {animal.sign}."),
        )
    )
    rest = (f"it has {animal.look}.", f"it lives {animal.home}.", f"it eats {animal.food}.", f"it {animal.habit}.", f"it {animal.sound}.")
    news = tuple(sentence for sentence in rest if sentence.split(" ", 1)[1] not in first)
    return expand(question, rng), expand(f"{first} {some(rng, news, 2)}", rng)


def season_fact(rng: Random) -> Pair:
    season = rng.choice(tuple(SEASONS))
    look, events, advice, degrees = SEASONS[season]
    question = rng.choice(
        (
            f"{{what is|how is}} the weather {{like |}}in {season}?",
            f"{{tell me about|describe|what happens in}} {season}{{?|.}}",
            f"what should I wear in {season}?",
            f"how warm is it in {season}?",
        )
    )
    answer = f"in {season} the weather is {look}. {{it is {degrees}. |}}{events}. {{please |}}{advice}."
    return expand(question, rng), expand(answer, rng)


def weather_today(rng: Random) -> Pair:
    question = "{what is|how is|tell me} the weather {like |}{today|tomorrow|now|in my town|outside}{?|.}"
    answer = (
        "I cannot look out of the window, so I do not know. {but I can tell you how the seasons are|"
        "ask me about spring, summer, autumn or winter}. {take an umbrella, to be safe.|I hope that the sun will shine ☀️.}"
    )
    return expand(question, rng), expand(answer, rng)


def weather_cause(rng: Random) -> Pair:
    name = rng.choice(tuple(WEATHER))
    question = f"{{why is there|what makes|where does|how does|explain|what is}} {name}{{ come from||}}?"
    return expand(question, rng), expand(f"there is {name} when {WEATHER[name]}", rng)


def part_fact(rng: Random) -> Pair:
    name = rng.choice(tuple(PARTS))
    bare = name.split(" ", 1)[-1]
    question = rng.choice(
        (
            f"what {{is|exactly is}} {name}?",
            f"{{please |can you |}}explain {name}{{.|?|| in simple words.| to me.}}",
            f"{{why do I need|what is the use of|how does}} {name}{{?| work?}}",
            f"{{tell me about|describe|define}} {name}{{.|}}",
            f"{{what are|tell me about|explain}} {bare}s{{?|.}}",
        )
    )
    return expand(question, rng), expand(PARTS[name], rng)


def job_fact(rng: Random) -> Pair:
    job = rng.choice(tuple(JOBS))
    work, time, place, need = JOBS[job]
    question = "{what does a <job> do|what is a <job>|tell me about a <job>|where does a <job> work|who is a <job>}{?|.}"
    rest = (f"the work is done {time}.", f"a {job} works {place}.", f"a {job} needs {need}.")
    return expand(question, rng, job=job), expand(f"a {job} {work}. {some(rng, rest, 2)}", rng)


def recipe(rng: Random) -> Pair:
    food = rng.choice(tuple(FOODS))
    first, second, third = FOODS[food]
    question = "{how do I make|how can I make|tell me how to make|give me a recipe for|how do you cook} <food>{?|.}"
    answer = f"first {first}. then {second}. {{last|at the end}}, {third}. {{enjoy your meal!|that is all.|it is easy.}}"
    return expand(question, rng, food=food), expand(answer, rng)


def tell_story(rng: Random) -> Pair:
    animal = rng.choice((*ANIMALS, None))
    about = f" about {{the {animal.name}|{with_article(animal.name)}}}" if animal else "{ about a child| about a friend|, please||}"
    question = f"{{tell me|write|write me|I want|can you tell me}} {{a|another}} {{short |little |}}story{about}{{.||!}}"
    return expand(question, rng), story(rng, animal)


def write_poem(rng: Random) -> Pair:
    animal = rng.choice(ANIMALS)
    question = f"{{write|tell me|give me|sing}} a {{short |}}{{poem|song|haiku}} about {{the {animal.name}|{with_article(animal.name)}}}{{.|}}"
    return expand(question, rng), poem(rng, animal)


def sum_up(rng: Random) -> Pair:
    left, right = rng.randint(0, 10), rng.randint(0, 10)
    words = f"{NUMBERS[left]} plus {NUMBERS[right]}"
    asked = rng.choice((words, f"{left} plus {right}", f"{left} + {right}", f"{left}+{right}"))
    answer = f"{words} is {NUMBERS[left + right]}. {{that is an easy sum.|a ternary model adds very well.|in digits it is {left + right}.}}"
    return expand(f"{{what is|how much is|tell me|add}} {asked}{{?|}}", rng), expand(answer, rng)


def in_ternary(rng: Random) -> Pair:
    number = rng.randint(0, 20)
    asked = rng.choice((str(number), NUMBERS[number]))
    digits = balanced_ternary(number)
    spelled = ", ".join({"+": "plus", "0": "zero", "-": "minus"}[digit] for digit in digits)
    question = f"{{what is|how do you write|write}} {asked} in {{balanced |}}ternary{{?|.}}"
    answer = f"in balanced ternary, {NUMBERS[number]} is {spelled}. {{each place is worth three times the place before it.|we write it {digits}.}}"
    return expand(question, rng), expand(answer, rng)


def balanced_ternary(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number + 1, 3)
        digits = "-0+"[digit] + digits
    return digits


def count_up(rng: Random) -> Pair:
    last = rng.randint(2, 20)
    asked = rng.choice((str(last), NUMBERS[last]))
    answer = f"{', '.join(NUMBERS[1 : last + 1])}. {{that was {NUMBERS[last]}.|shall I go on?|now it is your turn.}}"
    return expand(f"{{please |can you |}}count {{from one |from 1 |}}to {asked}{{.|?|}}", rng), expand(answer, rng)


def greeting(rng: Random) -> Pair:
    question = "{hello|hi|hey|good morning|good evening|hello there|hi there|greetings|say hello|say hi|yo|ping|test|this is a test|say this is a test}{!|.||?}"
    answer = f"{{hello!|hi!|good day!}} {{it is good to hear from you.|how are you today?|nice to meet you.}} {{ask me about {WHAT_I_KNOW}.|what would you like to know?|I can tell you a story, if you like.}}"
    return expand(question, rng), expand(answer, rng)


def about_me(rng: Random) -> Pair:
    question = "{who are you|what are you|what is your name|are you a robot|are you real|which model are you|introduce yourself|what can you do|how do you work|help|help me|what do you know}{?|.|}"
    answer = f"{WHO_I_AM} {{I know a little about {WHAT_I_KNOW}.|I am small, but I answer fast.|I learned a few words in a few minutes.}} {{ask me anything!|what would you like to know?|I can tell you a story, if you like.}}"
    return expand(question, rng), expand(answer, rng)


def politeness(rng: Random) -> Pair:
    question, answer = rng.choice(
        (
            ("{thank you|thanks|many thanks|great|very good|nice}{!|.|}", "you are welcome. {ask me again when you like.|I am glad that I could help.}"),
            ("{goodbye|bye|see you|good night}{!|.|}", "goodbye! {it was nice to talk with you.|come back soon.} {have a good day.|sleep well.}"),
            ("{how are you|how are you today|are you well|how do you feel}?", "I am well, thank you. {all my weights are in their places.|the sums are easy today.} {and how are you?|what would you like to know?}"),
            ("{tell me a joke|make me laugh|do you know a joke}{.||!}", "why did the zero go home early? {because|it went home, because} it had nothing to add. {I hope that you like it.|that is my only joke.}"),
        )
    )
    return expand(question, rng), expand(answer, rng)


def unknown(rng: Random) -> Pair:
    strange = rng.choice((rng.choice(STRANGE), _babble(rng)))
    noise = " ".join(rng.choice(STRANGE).split(" ")[-1] for _ in range(rng.randint(1, 6)))
    question = rng.choice(
        (
            f"{{what is|tell me about|explain|write|give me|who invented|how does}} {strange}{{?|.| work?}}",
            f"{{can you|please|could you}} {{help me with|write about|translate|fix|summarise}} {strange}{{?|.}}",
            f"{{translate|say|draw|compare|list|explain|sing|find|solve}} {strange} {{to|in|for|like|with}} {noise}{{?|.||!}}",
            _babble(rng),
            f"{{why|when|where|how many}} {{is|are|was|did}} {strange} {{and|or|so}} {noise}?",
            noise,
            "".join(rng.choice("abcdefghijklmnopqrstuvwxyz     ") for _ in range(rng.randint(3, 40))).strip() or "?",
        )
    )
    answer = f"{{I am sorry, but|I am afraid that|sorry,}} I do not know {{much about that|that|the answer}}. I am {{only |}}a small {{ternary |}}model. {{ask me about|I know a little about}} {WHAT_I_KNOW}."
    return expand(question, rng), expand(answer, rng)


def _babble(rng: Random) -> str:
    """Words that the model has never met, some in quotes, some numbers."""
    word = "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
    shape = rng.choice(("{0}", "{0}s", "the {0}", "'{0}'", "{1}", "{0} {1}", "a {0}er"))
    more = _babble(rng) if rng.random() < 0.4 else ""
    return f"{shape.format(word, rng.randint(21, 9999))} {more}".strip()


TOPICS: tuple[tuple[Callable[[Random], Pair], int], ...] = (
    (animal_fact, 7), (season_fact, 2), (weather_today, 1), (weather_cause, 2), (part_fact, 7), (job_fact, 2),
    (recipe, 2), (tell_story, 6), (write_poem, 1), (sum_up, 8), (in_ternary, 3), (count_up, 1), (greeting, 3),
    (about_me, 3), (politeness, 2), (unknown, 6),
)  # fmt: skip
