import type { Random } from "./random.ts";
import { animals, countries, unknownThings } from "./world.ts";

const people =
  "my mother,my father,my friend,the teacher,the doctor,the farmer,a child,the cook,my brother,my sister,the old man,the little girl".split(
    ",",
  );
const peopleZh =
  "妈妈,爸爸,朋友,老师,医生,农民,孩子,厨师,哥哥,姐姐,弟弟,妹妹,爷爷,奶奶,小明,小红,王先生,李小姐,我,他,她,我们,你们,他们".split(
    ",",
  );
const times =
  "today,in the morning,in the evening,at night,on Sunday,every day,in summer,in winter,after school,now".split(",");
const timesZh = "今天,昨天,明天,早上,中午,下午,晚上,星期天,春天,夏天,秋天,冬天,现在,每天,放学以后,去年,有时候".split(
  ",",
);
const places =
  "in the garden,in the park,in the kitchen,at school,at home,near the river,in the city,in the mountains,by the sea,in the field,on the road,in the shop".split(
    ",",
  );
const placesZh =
  "花园里,公园里,厨房里,学校里,家里,河边,城市里,山上,海边,草地上,路上,商店里,医院里,图书馆里,湖边,车站,树下,桥上,房间里,北京,电影院里".split(
    ",",
  );
const actions =
  "reads a book,drinks tea,eats bread,plays with a dog,sings a song,looks at the moon,writes a letter,makes food,buys apples,waits for a friend,washes the hands,carries wood,learns Chinese,draws a picture,tells a story".split(
    ",",
  );
const actionsZh =
  "看书,喝茶,吃面包,唱歌,跳舞,散步,写信,做饭,买苹果,等朋友,洗手,画画,听音乐,学习中文,学习英语,讲故事,打电话,看电影,踢足球,骑自行车,睡觉,休息,种花,钓鱼,拍照,玩游戏,扫地,穿衣服,吃早饭,喝牛奶,吃鸡蛋,买衣服,写作业,看星星,跑步,游泳,吃西瓜,包饺子,坐火车,坐飞机".split(
    ",",
  );
const things =
  "book,house,door,table,tree,flower,river,road,city,shop,cup,chair,window,song,story,letter,picture,boat,coat,hat,box,bridge,lake".split(
    ",",
  );
const thingsZh =
  "书,房子,门,桌子,树,花,河,路,城市,商店,杯子,椅子,窗户,歌,故事,信,画,船,衣服,帽子,盒子,桥,湖,鞋子,手机,电视,汽车,自行车,蛋糕,面条,米饭,水果,空气,声音,味道,名字,钱,票,照片,礼物".split(
    ",",
  );
const qualities =
  "big,small,new,old,beautiful,red,blue,green,white,black,long,short,clean,warm,cold,soft,heavy,quiet,bright,gentle,brown".split(
    ",",
  );
const qualitiesZh =
  "大,小,新,旧,漂亮,红,蓝,绿,白,黑,长,短,干净,暖和,冷,软,重,安静,明亮,可爱,聪明,便宜,贵,重要,有趣,快,慢,好吃,好看,高,甜,有名".split(
    ",",
  );
const parts = "wool,hair,ears,eyes,legs,necks,teeth".split(",");
const products = "milk,wool,meat,eggs,hair".split(",");
const herds = [...animals.map(({ many }) => many), ...unknownThings.slice(0, 2)];
const herdsZh = [...animals.map(({ zh }) => zh), "羊驼"];
const feelings = "happy,sad,tired,hungry,busy,young,kind,strong,friendly".split(",");
const feelingsZh = "高兴,难过,累,饿,忙,年轻,善良,健康,友好,生气,害怕,认真,勇敢,开心".split(",");
const hoursZh = "六点,七点,八点,九点,十点,十一点,十二点,两点半,三点半".split(",");
const surnamesZh = [..."王李张刘陈杨赵周"];
const countedZh =
  "一辆汽车,一辆自行车,一本书,一本词典,一只猫,一只鸟,一条鱼,一条裤子,一张照片,一张桌子,一件衣服,一双鞋子,一杯茶,一杯水,一座桥,一座山,一位老师,一封信,一把椅子,一块蛋糕,一碗面条,一片树叶,一朵花,一棵树".split(
    ",",
  );
const measuresZh = "一个,两个,三个,四个,五个,很多,一些".split(",");

const start = (text: string) => text[0]!.toUpperCase() + text.slice(1);

/** A plain English sentence in varied words; gives every word a place beside many others. */
export function englishSentence(random: Random): string {
  const animal = random.pick(animals);
  const many = random.pick(herds);
  const [country] = random.pick(countries);
  switch (random.below(11)) {
    case 0:
      return `${start(random.pick(people))} ${random.pick(actions)} ${random.pick(places)}.`;
    case 1:
      return `${start(random.pick(times))}, ${random.pick(people)} ${random.pick(actions)}.`;
    case 2:
      return `The ${random.pick(things)} is ${random.pick(qualities)} and ${random.pick(qualities)}.`;
    case 3:
      return `${start(random.pick(people))} is ${random.pick(feelings)} ${random.pick(times)}.`;
    case 4:
      return `There is a ${random.pick(qualities)} ${random.pick(things)} ${random.pick(places)}.`;
    case 5:
      return `The ${random.pick(qualities)} ${animal.one} is ${random.pick(places)}.`;
    case 6:
      return `${start(random.pick(people))} has ${random.pick(["two", "three", "four", "many"])} ${animal.many} and a ${random.pick(things)}.`;
    case 7:
      return `${start(many)} have ${random.pick(qualities)} ${random.pick(parts)} and ${random.pick(qualities)} ${random.pick(parts)}.`;
    case 8:
      return `People in ${country} keep ${many} for their ${random.pick(products)}.`;
    case 9:
      return `${start(many)} are ${random.pick([...qualities, ...feelings])} animals from the ${random.pick(["mountains", "fields", "farms", "forests"])} of ${country}.`;
    default:
      return `I like the ${random.pick(qualities)} ${random.pick(things)} and the ${random.pick(qualities)} ${animal.one}.`;
  }
}

/** A plain Chinese sentence in varied words. */
export function chineseSentence(random: Random): string {
  const person = random.pick(peopleZh);
  const thing = random.pick(thingsZh);
  const animal = random.pick(animals).zh;
  switch (random.below(22)) {
    case 0:
      return `${person}在${random.pick(placesZh)}${random.pick(actionsZh)}。`;
    case 1:
      return `${random.pick(timesZh)}${person}在${random.pick(placesZh)}${random.pick(actionsZh)}。`;
    case 2:
      return `${random.pick(timesZh)}${person}想去${random.pick(placesZh)}${random.pick(actionsZh)}。`;
    case 3:
      return `这${random.pick(["个", "些"])}${thing}很${random.pick(qualitiesZh)}，也很${random.pick(qualitiesZh)}。`;
    case 4:
      return `${person}${random.pick(timesZh)}很${random.pick(feelingsZh)}。`;
    case 5:
      return `${random.pick(placesZh)}有${random.pick(measuresZh)}${random.pick(qualitiesZh)}的${thing}。`;
    case 6:
      return `${person}的${thing}是${random.pick(["红", "蓝", "绿", "白", "黑", "黄"])}色的。`;
    case 7:
      return `${person}和${random.pick(peopleZh)}一起${random.pick(actionsZh)}，然后${random.pick(actionsZh)}。`;
    case 8:
      return `${person}喜欢${random.pick(qualitiesZh)}的${thing}，不喜欢${random.pick(actionsZh)}。`;
    case 9:
      return `因为${person}很${random.pick(feelingsZh)}，所以${person}要${random.pick(actionsZh)}。`;
    case 10:
      return `${person}家的${animal}很${random.pick(qualitiesZh)}，它在${random.pick(placesZh)}。`;
    case 11:
      return `${random.pick(herdsZh)}来自${random.pick(countries)[3]}，它们很${random.pick(qualitiesZh)}，也很${random.pick(feelingsZh)}。`;
    case 12:
      return `人们养${random.pick(herdsZh)}，因为它们的${random.pick(["毛", "奶", "肉", "蛋", "皮"])}很${random.pick(qualitiesZh)}。`;
    case 13:
      return `${random.pick(timesZh)}${person}${random.pick(hoursZh)}${random.pick(actionsZh)}。`;
    case 14:
      return `这是${person}最${random.pick(["喜欢", "重要", "漂亮", "新"])}的${thing}。`;
    case 15:
      return `虽然${person}很${random.pick(feelingsZh)}，但是${person}还在${random.pick(actionsZh)}。`;
    case 16:
      return `${person}比${random.pick(peopleZh)}更${random.pick(feelingsZh)}，也更${random.pick(qualitiesZh)}。`;
    case 17:
      return `${person}有${random.pick(countedZh)}和${random.pick(countedZh)}。`;
    case 18:
      return `${person}姓${random.pick(surnamesZh)}，已经${random.pick(actionsZh)}了。`;
    case 19: {
      const [place, action] = [random.pick(placesZh), random.pick(actionsZh)];
      return `谁在${place}${action}？${person}在${place}${action}。`;
    }
    case 20: {
      const [time, action] = [random.pick(timesZh), random.pick(actionsZh)];
      return `${person}${time}做什么？${person}${time}${action}。`;
    }
    default:
      return `${person}给${random.pick(peopleZh)}买了${random.pick(measuresZh)}${thing}。`;
  }
}
