# ruff: noqa: E501, SIM905 - a row of a table, or one template, stays on one line
# fmt: off
"""What the corpus knows: tables of animals, seasons, jobs, foods and the parts of a gateway."""

from __future__ import annotations

from typing import NamedTuple


class Animal(NamedTuple):
    name: str
    kind: str
    look: str
    home: str
    food: str
    habit: str
    sound: str
    sign: str


ANIMALS = (
    Animal("fox", "mammal", "red fur and a long tail", "in the forest", "mice and berries", "hunts at night", "barks", "🦊"),
    Animal("owl", "bird", "soft feathers and round eyes", "in old trees", "mice", "flies without a sound", "hoots", "🦉"),
    Animal("bear", "mammal", "thick brown fur", "in the mountains", "fish, roots and honey", "sleeps all winter", "growls", "🐻"),
    Animal("cat", "mammal", "soft fur and sharp claws", "in a warm house", "fish and meat", "sleeps most of the day", "purrs", "🐱"),
    Animal("dog", "mammal", "a wet nose and a happy tail", "with people", "meat and bread", "guards the door", "barks", "🐶"),
    Animal("horse", "mammal", "long legs and a fine mane", "on the farm", "grass and apples", "runs very fast", "neighs", "🐴"),
    Animal("cow", "mammal", "a large body and two horns", "on the farm", "grass", "gives milk every day", "moos", "🐮"),
    Animal("frog", "amphibian", "wet green skin", "near the pond", "flies", "jumps very far", "croaks", "🐸"),
    Animal("bee", "insect", "four wings and yellow stripes", "in a hive", "sweet nectar", "makes honey", "buzzes", "🐝"),
    Animal("whale", "mammal", "smooth grey skin", "in the deep sea", "small fish", "dives for an hour", "sings", "🐋"),
    Animal("eagle", "bird", "strong wings and a sharp beak", "on high cliffs", "fish and rabbits", "circles in the sky", "cries", "🦅"),
    Animal("rabbit", "mammal", "long ears and a short tail", "in a burrow", "grass and carrots", "runs from danger", "squeaks", "🐰"),
    Animal("mouse", "mammal", "small ears and a thin tail", "under the floor", "seeds and cheese", "hides from the cat", "squeaks", "🐭"),
    Animal("lion", "mammal", "golden fur and a great mane", "on the dry plain", "meat", "rests in the shade", "roars", "🦁"),
    Animal("elephant", "mammal", "big ears and a long trunk", "on the warm plain", "leaves and fruit", "remembers every path", "trumpets", "🐘"),
    Animal("penguin", "bird", "black and white feathers", "on the cold ice", "fish", "swims like an arrow", "calls loudly", "🐧"),
    Animal("turtle", "reptile", "a hard green shell", "near the warm sea", "plants and jellyfish", "walks slowly", "hisses softly", "🐢"),
    Animal("snake", "reptile", "smooth dry scales", "under warm stones", "mice and eggs", "lies in the sun", "hisses", "🐍"),
    Animal("duck", "bird", "brown feathers and a flat beak", "on the lake", "plants and snails", "swims all day", "quacks", "🦆"),
    Animal("wolf", "mammal", "grey fur and bright eyes", "in the dark forest", "deer", "hunts in a pack", "howls", "🐺"),
    Animal("sheep", "mammal", "thick white wool", "on green hills", "grass", "follows the flock", "bleats", "🐑"),
    Animal("ant", "insect", "six legs and a hard body", "under the ground", "seeds and crumbs", "carries heavy loads", "makes no sound", "🐜"),
    Animal("hedgehog", "mammal", "many sharp spines", "in the garden", "worms and snails", "rolls into a ball", "snuffles", "🦔"),
    Animal("octopus", "mollusc", "eight arms and soft skin", "in the warm sea", "crabs", "changes its colour", "makes no sound", "🐙"),
)

SEASONS = {
    "spring": ("mild and fresh", "flowers open and birds build nests", "take a light coat", "around 12 °C"),
    "summer": ("warm and bright", "the days are long and the sun is strong", "drink water and wear a hat", "around 25 °C"),
    "autumn": ("cool and windy", "leaves turn red and fall to the ground", "take an umbrella", "around 10 °C"),
    "winter": ("cold and dark", "snow lies on the roofs and ponds freeze", "wear a warm coat", "around -2 °C"),
}

WEATHER = {
    "rain": "warm air rises and cools. The water in it gathers into drops. When the drops are heavy, they fall.",
    "snow": "the air is very cold. Water freezes into small crystals. They fall slowly and cover the ground.",
    "wind": "air moves from a place of high pressure to a place of low pressure. Strong sun makes strong wind.",
    "thunder": "lightning heats the air in a moment. The hot air grows fast, and we hear a loud sound.",
    "fog": "wet air cools near the ground. Very small drops hang in the air. It looks like a low cloud.",
    "a rainbow": "sunlight enters drops of rain. Each colour bends a little differently, so we see them all.",
    "hail": "strong wind lifts drops of rain into cold air. They freeze into ice and fall as small stones.",
    "frost": "the night is clear and cold. Water in the air freezes on grass and windows.",
}

PARTS = {
    "a gateway": "a gateway stands between clients and servers. It checks the key, counts the tokens and sends each call to a server.",
    "a router": "a router chooses a server for each call. It takes the one with the least work. If a server is down, it takes the next one.",
    "a token": "a token is a small piece of text. It may be a word or a part of a word. A model reads and writes one token at a time.",
    "a budget": "a budget is the most that you want to spend. The gateway keeps some money aside before each call. When nothing is left, it says no.",
    "a rate limit": "a rate limit says how many calls you may make in a minute. It keeps the servers free for all. Wait a little and try again.",
    "a stream": "a stream sends the answer in small pieces. You can read the first words before the last ones are written.",
    "an upstream": "an upstream is a server behind the gateway. It runs the model and writes the answer.",
    "an API key": "an API key says who you are. Keep it secret. If you lose it, ask for a new one and remove the old one.",
    "a ledger": "a ledger is a book of money. Each call is written down once, and nothing is written twice.",
    "a replica": "a replica is a second copy of the same server. If one copy stops, the other one goes on.",
    "a health check": "a health check asks a server if it is well. A sick server gets no new calls until it is well again.",
    "a cache": "a cache keeps what was used before. The next time it is ready at once.",
    "a queue": "a queue is a line of things that wait. The first one in is the first one out.",
    "a model": "a language model reads some text and guesses the next token. It does this again and again until the answer is done.",
    "a prompt": "a prompt is the text that you give to a model. A clear prompt gives a clear answer.",
    "a reservation": "a reservation is money set aside for a call. After the call the true cost is paid and the rest is given back.",
    "latency": "latency is the time that you wait. Short answers and near servers make it small.",
    "a ternary model": "a ternary model has only three kinds of weight: minus one, zero and one. It is small and fast, because it adds and never multiplies.",
    "a ternary weight": "a ternary weight is minus one, zero or one. It needs less than two bits, so a large model fits in a small memory.",
    "balanced ternary": "balanced ternary counts with three digits: minus, zero and plus. Each place is worth three times the place before it.",
    "a trit": "a trit is a digit with three values. A bit has only two. Five trits fit into one byte.",
    "quantisation": "quantisation writes numbers with fewer bits. The model becomes smaller and faster, and it loses only a little.",
    "a GPU": "a GPU does many small sums at the same time. That is why models run fast on it.",
}

JOBS = {
    "baker": ("makes bread and cakes", "early in the morning", "in a bakery", "flour, water and salt"),
    "farmer": ("grows food and keeps animals", "from spring to autumn", "on a farm", "a tractor and good soil"),
    "doctor": ("helps people who are sick", "by day and by night", "in a hospital", "careful hands"),
    "teacher": ("helps children to learn", "on weekdays", "in a school", "books and patience"),
    "sailor": ("takes ships over the sea", "in all weather", "on a ship", "a map and a compass"),
    "gardener": ("plants flowers and trees", "when the ground is soft", "in a garden", "a spade and seeds"),
    "painter": ("paints pictures and walls", "in good light", "in a bright room", "brushes and colours"),
    "engineer": ("builds machines and bridges", "on weekdays", "in an office", "numbers and good plans"),
    "cook": ("makes warm meals", "at noon and in the evening", "in a kitchen", "fire and fresh food"),
    "pilot": ("flies planes over the clouds", "by day and by night", "in a plane", "a clear head"),
}

FOODS = {
    "bread": ("mix flour, water, salt and yeast", "let the dough rest for an hour", "bake it until it is brown"),
    "soup": ("cut some carrots and onions", "cook them in water for half an hour", "add salt and a little butter"),
    "tea": ("boil fresh water", "pour it over the leaves", "wait for three minutes"),
    "pancakes": ("mix eggs, milk and flour", "heat some butter in a pan", "bake each side until it is golden"),
    "a salad": ("wash the green leaves", "cut a tomato and a cucumber", "add oil, salt and lemon"),
    "apple cake": ("cut four apples into small pieces", "mix butter, sugar, eggs and flour", "bake the cake for forty minutes"),
    "coffee at the café": ("grind the beans", "pour hot water over them", "drink it with a little milk"),
    "crème": ("heat milk and sugar slowly", "add the yolk of an egg", "let it cool before you serve it"),
}

NAMES = ("Ada", "Ben", "Clara", "Emil", "Zoë", "Jonas", "Lena", "Noah", "Mila", "Oskar", "René", "Tara")
PLACES = ("village", "forest", "valley", "garden", "harbour", "mountain", "meadow", "old mill", "lake", "bridge")
ADJECTIVES = ("small", "young", "brave", "clever", "quiet", "curious", "friendly", "old", "shy", "proud")
THINGS = ("key", "lamp", "map", "bell", "boat", "letter", "golden coin", "basket of apples", "blue stone", "clock")
LESSONS = (
    "a friend is worth more than gold",
    "a small step is better than none",
    "it is good to share",
    "the quiet ones often know the way",
    "help comes to those who help",
    "one should never give up too early",
)
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()
STRANGE = (
    "the capital of France, a python function, quantum physics, the stock market, my homework, a recipe from Mars, "
    "the history of Rome, football results, a love letter, the news of today, my password, a list of prime numbers, "
    "the meaning of life, a movie, a song about computers, taxes, politics, chess openings, a business plan, javascript, "
    "the moon landing, dinosaurs, a flight to Berlin, the best phone, this code, an essay on freedom, chemistry, SQL, "
    "the president, Kubernetes, a joke about lawyers, my dream, shoes, vitamins, the year 1999, bitcoin, marketing"
).split(", ")
