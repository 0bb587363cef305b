import type { Fact } from "./facts.ts";

/** What the base is tested on word for word; listed with the answers in weights/tiny/questions.json. */
const listed = new Set([
  "Tell me something about alpacas.",
  "Give three tips for staying healthy.",
  "What are the three primary colors?",
  "What is the capital of France?",
  "What is the capital of Peru?",
  "What language do people speak in Egypt?",
  "Tell me something about camels.",
  "Describe elephants.",
  "What do pandas eat?",
  "Where do frogs live?",
  "How many legs does a bee have?",
  "What color is the sky?",
  "What is the opposite of hot?",
  "Name three fruits.",
  "What does a teacher do?",
  "Describe the work of a doctor.",
  "What day comes after Monday?",
  "How is the weather in winter?",
  "What is 3 plus 4?",
  "How many days are there in a week?",
  "How do I make tea?",
  "Who are you?",
  "How are you?",
  "你好。",
  "你是谁？",
  "介绍一下骆驼。",
  "中国的首都是哪里？",
  "熊猫喜欢吃什么？",
  "三加四等于几？",
  "怎样保持健康？",
  "医生在哪里工作？",
  "草是什么颜色的？",
]);

const listedWithInput = new Set(["Translate this word into Chinese.\ncat", "把这个词翻译成英文。\n你好"]);

export interface Question {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

/** The listed questions with their answers, in the order of the facts. */
export function listedQuestions(facts: readonly Fact[]): Question[] {
  const found = facts.flatMap(({ questions, input, answer }) =>
    questions
      .filter((question) => (input ? listedWithInput.has(`${question}\n${input}`) : listed.has(question)))
      .map((instruction) => ({ instruction, input, output: answer })),
  );
  if (found.length !== listed.size + listedWithInput.size) throw new Error("a listed question is not among the facts");
  return found;
}
