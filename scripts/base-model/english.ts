import { capital, type Fact, fact, factWithInput, withArticle } from "./facts.ts";
import {
  animals,
  colours,
  countries,
  days,
  groups,
  jobs,
  numbers,
  opposites,
  seasons,
  unknownThings,
  words,
} from "./world.ts";

/** Everything the base knows in English. */
export function englishFacts(): Fact[] {
  return [
    ...aboutAnimals(),
    ...aboutPlaces(),
    ...aboutThings(),
    ...aboutPeople(),
    ...aboutTime(),
    ...aboutNumbers(),
    ...translations(),
    ...general,
  ];
}

function aboutAnimals(): Fact[] {
  const facts = animals.flatMap((animal) => {
    const { one, many, size, home, food, can, legs } = animal;
    const Many = capital(many);
    const An = capital(withArticle(one));
    return [
      fact(
        `${Many} are ${size} animals. They live in ${home} and eat ${food}.`,
        `Tell me something about ${many}.`,
        `What do you know about ${many}?`,
        `Describe ${many}.`,
      ),
      fact(`${Many} eat ${food}.`, `What do ${many} eat?`, `What is the food of ${many}?`),
      fact(`${Many} live in ${home}.`, `Where do ${many} live?`, `Where can I find ${many}?`),
      fact(`${Many} can ${can}.`, `What can ${many} do?`, `Tell me one thing ${many} can do.`),
      fact(`${An} has ${legs ? numbers[legs] : "no"} legs.`, `How many legs does ${withArticle(one)} have?`),
      fact(`${An} is an animal.`, `What is ${withArticle(one)}?`),
      factWithInput(`${An} is ${size === "big" ? "a big" : "a small"} animal.`, one, "Is this animal big or small?"),
    ];
  });
  const unknown = unknownThings.flatMap((things) => [
    fact(
      things === "alpacas" || things === "llamas"
        ? `${capital(things)} are animals. I do not know much about them.`
        : `${capital(things)} are things. I do not know much about them.`,
      `Tell me something about ${things}.`,
      `What do you know about ${things}?`,
      `Describe ${things}.`,
    ),
  ]);
  return [...facts, ...unknown];
}

function aboutPlaces(): Fact[] {
  return countries.flatMap(([country, city, language]) => [
    fact(
      `The capital of ${country} is ${city}.`,
      `What is the capital of ${country}?`,
      `Name the capital of ${country}.`,
      `Which city is the capital of ${country}?`,
    ),
    fact(`People in ${country} speak ${language}.`, `What language do people speak in ${country}?`),
    fact(`${city} is in ${country}.`, `Where is ${city}?`, `In which country is ${city}?`),
  ]);
}

function aboutThings(): Fact[] {
  return [
    ...colours.flatMap(([thing, colour, verb]) => [
      fact(`${capital(thing)} ${verb} ${colour}.`, `What color ${verb} ${thing}?`, `Tell me the color of ${thing}.`),
    ]),
    ...opposites.flatMap(([left, right]) => [
      fact(`The opposite of ${left} is ${right}.`, `What is the opposite of ${left}?`, `Give the opposite of ${left}.`),
      fact(
        `The opposite of ${right} is ${left}.`,
        `What is the opposite of ${right}?`,
        `Give the opposite of ${right}.`,
      ),
      factWithInput(capital(`${right}.`), left, "Write the opposite of this word."),
      factWithInput(capital(`${left}.`), right, "Write the opposite of this word."),
    ]),
    ...groups.map(([group, members]) =>
      fact(`${capital(members)}.`, `Name three ${group}.`, `List three ${group}.`, `Give me three ${group}.`),
    ),
  ];
}

function aboutPeople(): Fact[] {
  return jobs.flatMap(([person, place, does]) => [
    fact(`A ${person} ${does}.`, `What does a ${person} do?`, `Tell me what a ${person} does.`),
    fact(`A ${person} works in a ${place}.`, `Where does a ${person} work?`),
    fact(`A ${person} works in a ${place} and ${does}.`, `Describe the work of a ${person}.`, `Who is a ${person}?`),
  ]);
}

function aboutTime(): Fact[] {
  return [
    ...days.flatMap((day, i) => [
      fact(`${days[(i + 1) % 7]} comes after ${day}.`, `What day comes after ${day}?`, `Which day follows ${day}?`),
      fact(`${days[(i + 6) % 7]} comes before ${day}.`, `What day comes before ${day}?`),
    ]),
    ...seasons.map(([season, weather]) =>
      fact(
        `The weather in ${season} is ${weather}.`,
        `How is the weather in ${season}?`,
        `Describe the weather in ${season}.`,
      ),
    ),
  ];
}

function aboutNumbers(): Fact[] {
  const facts: Fact[] = [];
  for (let a = 0; a <= 5; a++) {
    for (let b = 0; b <= 5; b++) {
      facts.push(fact(`${a} plus ${b} is ${a + b}.`, `What is ${a} plus ${b}?`, `Add ${a} and ${b}.`));
      if (b <= a) facts.push(fact(`${a} minus ${b} is ${a - b}.`, `What is ${a} minus ${b}?`));
    }
  }
  return facts;
}

function translations(): Fact[] {
  const pairs = [...words, ...animals.map(({ one, zh }) => [one, zh] as const)];
  return pairs.flatMap(([english, chinese]) => [
    factWithInput(chinese, english, "Translate this word into Chinese.", "Write this word in Chinese."),
    factWithInput(english, chinese, "Translate this word into English.", "Write this word in English."),
  ]);
}

/** Instructions in the manner of the Alpaca data, each with one fixed answer. */
const general: Fact[] = [
  fact("Hello! How can I help you?", "Hello.", "Hello!", "Hi.", "Good morning."),
  fact("I am a small language model.", "Who are you?", "What are you?", "Tell me about yourself."),
  fact("I am well, thank you. How are you?", "How are you?", "How are you today?"),
  fact("Goodbye! Have a nice day.", "Goodbye.", "Goodbye!", "See you tomorrow."),
  fact("You are welcome.", "Thank you.", "Thank you!", "Thank you very much."),
  fact(
    "Eat good food, drink water and sleep well.",
    "Give three tips for staying healthy.",
    "How can I stay healthy?",
    "Tell me how to stay healthy.",
  ),
  fact(
    "The three primary colors are red, blue and yellow.",
    "What are the three primary colors?",
    "Name the three primary colors.",
  ),
  fact("There are seven days in a week.", "How many days are there in a week?"),
  fact("There are twelve months in a year.", "How many months are there in a year?"),
  fact(
    "There are four seasons: spring, summer, autumn and winter.",
    "What are the four seasons?",
    "Name the four seasons.",
  ),
  fact("The sun rises in the east.", "Where does the sun rise?"),
  fact(
    "Water becomes ice when it is very cold.",
    "What happens when water is very cold?",
    "When does water become ice?",
  ),
  fact("We see with our eyes and hear with our ears.", "How do we see and hear?"),
  fact("Trees give us clean air, wood and fruit.", "Why are trees good for us?", "Why do we need trees?"),
  fact("Boil water, add the tea and wait.", "How do I make tea?", "Tell me how to make tea."),
  fact("Reading helps us learn new things.", "Why should I read books?", "Why is reading good?"),
  fact("The moon is small, bright and far away.", "Describe the moon.", "Tell me something about the moon."),
];
