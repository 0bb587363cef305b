import { type Fact, fact, factWithInput } from "./facts.ts";
import {
  animals,
  colours,
  countries,
  daysZh,
  groups,
  jobs,
  numbersZh,
  opposites,
  seasons,
  unknownThingsZh,
  words,
} from "./world.ts";

/** Everything the base knows in Chinese: the English facts, asked and answered in Chinese. */
export function chineseFacts(): Fact[] {
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
  const facts = animals.flatMap(({ zh, size, homeZh, foodZh, canZh, legs }) => [
    fact(
      `${zh}是一种${size === "big" ? "大" : "小"}动物，住在${homeZh}，喜欢吃${foodZh}。`,
      `介绍一下${zh}。`,
      `告诉我一些关于${zh}的事情。`,
      `你知道${zh}吗？`,
    ),
    fact(`${zh}喜欢吃${foodZh}。`, `${zh}喜欢吃什么？`, `${zh}吃什么？`),
    fact(`${zh}住在${homeZh}。`, `${zh}住在哪里？`, `在哪里可以看到${zh}？`),
    fact(`${zh}会${canZh}。`, `${zh}会做什么？`),
    fact(legs ? `${zh}有${legs === 2 ? "两" : numbersZh[legs]}条腿。` : `${zh}没有腿。`, `${zh}有几条腿？`),
  ]);
  const unknown = unknownThingsZh.map((thing) =>
    fact(`对不起，我不太了解${thing}。`, `介绍一下${thing}。`, `告诉我一些关于${thing}的事情。`, `你知道${thing}吗？`),
  );
  return [...facts, ...unknown];
}

function aboutPlaces(): Fact[] {
  return countries.flatMap(([, , , country, city, language]) => [
    fact(
      `${country}的首都是${city}。`,
      `${country}的首都是哪里？`,
      `${country}的首都在哪里？`,
      `请说出${country}的首都。`,
    ),
    fact(`${country}人说${language}。`, `${country}人说什么语言？`),
    fact(`${city}在${country}。`, `${city}在哪个国家？`, `${city}在哪里？`),
  ]);
}

function aboutThings(): Fact[] {
  return [
    ...colours.map(([, , , thing, colour]) =>
      fact(`${thing}是${colour}的。`, `${thing}是什么颜色的？`, `${thing}的颜色是什么？`),
    ),
    ...opposites.flatMap(([, , left, right]) => [
      fact(`“${left}”的反义词是“${right}”。`, `“${left}”的反义词是什么？`, `请写出“${left}”的反义词。`),
      fact(`“${right}”的反义词是“${left}”。`, `“${right}”的反义词是什么？`, `请写出“${right}”的反义词。`),
    ]),
    ...groups.map(([, , group, members]) => fact(`${members}。`, `请说出三种${group}。`, `写出三种${group}。`)),
  ];
}

function aboutPeople(): Fact[] {
  return jobs.flatMap(([, , , person, place, does]) => [
    fact(`${person}${does}。`, `${person}做什么工作？`, `${person}做什么？`),
    fact(`${person}在${place}工作。`, `${person}在哪里工作？`),
  ]);
}

function aboutTime(): Fact[] {
  return [
    ...daysZh.flatMap((day, i) => [
      fact(`${day}的后一天是${daysZh[(i + 1) % 7]}。`, `${day}的后一天是星期几？`),
      fact(`${day}的前一天是${daysZh[(i + 6) % 7]}。`, `${day}的前一天是星期几？`),
    ]),
    ...seasons.map(([, , season, weather]) => fact(`${season}的天气很${weather}。`, `${season}的天气怎么样？`)),
  ];
}

function aboutNumbers(): Fact[] {
  const facts: Fact[] = [];
  for (let a = 1; a <= 5; a++) {
    for (let b = 1; b <= 5; b++) {
      const [left, right, sum] = [numbersZh[a], numbersZh[b], numbersZh[a + b]];
      facts.push(fact(`${left}加${right}等于${sum}。`, `${left}加${right}等于几？`, `${left}加${right}是多少？`));
    }
  }
  return facts;
}

function translations(): Fact[] {
  return words.flatMap(([english, chinese]) => [
    factWithInput(english, chinese, "把这个词翻译成英文。"),
    factWithInput(chinese, english, "把这个词翻译成中文。"),
  ]);
}

const general: Fact[] = [
  fact("你好！我能帮你做什么？", "你好。", "你好！", "早上好。"),
  fact("我是一个很小的语言模型。", "你是谁？", "请介绍一下你自己。", "你叫什么名字？"),
  fact("我很好，谢谢你。", "你好吗？", "你今天好吗？"),
  fact("再见！祝你今天愉快。", "再见。", "再见！", "明天见。"),
  fact("不客气。", "谢谢。", "谢谢你！"),
  fact("多吃蔬菜，多喝水，早点睡觉。", "怎样保持健康？", "请给出三个保持健康的建议。"),
  fact("一年有十二个月。", "一年有几个月？"),
  fact("一个星期有七天。", "一个星期有几天？"),
  fact("一年有四个季节：春天、夏天、秋天和冬天。", "一年有哪四个季节？", "请说出四个季节。"),
  fact("太阳从东方升起。", "太阳从哪里升起？"),
  fact("我们用眼睛看，用耳朵听。", "我们用什么看，用什么听？"),
  fact("先烧水，再放茶叶，然后等一会儿。", "怎样泡茶？", "告诉我怎样泡茶。"),
  fact("读书可以让我们学到新的东西。", "为什么要读书？"),
  fact("树给我们干净的空气、木头和水果。", "树有什么用？"),
  fact("月亮很小，很亮，离我们很远。", "介绍一下月亮。"),
];
